BEGIN TRANSACTION;
CREATE TABLE checkpoints (
	study TEXT NOT NULL, 
	trial BIGINT NOT NULL, 
	step BIGINT NOT NULL, 
	path TEXT NOT NULL, 
	sha256 TEXT NOT NULL, 
	bytes BIGINT NOT NULL, 
	at DOUBLE NOT NULL, 
	CONSTRAINT pk_checkpoints PRIMARY KEY (study, trial, step), 
	CONSTRAINT fk_checkpoints_study_trial FOREIGN KEY(study, trial) REFERENCES trials (study, trial) DEFERRABLE INITIALLY DEFERRED
);
INSERT INTO "checkpoints" VALUES('digits-1',0,3,'trials/0/ckpt-3-a1.safetensors','abababababababababababababababababababababababababababababababab',4096,1005.0);
CREATE TABLE devices (
	name TEXT NOT NULL, 
	identity TEXT NOT NULL, 
	runtime TEXT NOT NULL, 
	facts TEXT NOT NULL, 
	profile TEXT, 
	profiling TEXT, 
	added_at DOUBLE NOT NULL, 
	CONSTRAINT pk_devices PRIMARY KEY (name)
);
INSERT INTO "devices" VALUES('cpu','cpu:golden','onnxruntime','{"driver":"kernel 6"}','{"at":5.0,"study":"digits"}','{"status":"done"}',1010.0);
CREATE TABLE events (
	study TEXT NOT NULL, 
	seq BIGINT NOT NULL, 
	at DOUBLE NOT NULL, 
	kind TEXT NOT NULL, 
	payload TEXT NOT NULL, 
	CONSTRAINT pk_events PRIMARY KEY (study, seq), 
	CONSTRAINT fk_events_study FOREIGN KEY(study) REFERENCES studies (id) DEFERRABLE INITIALLY DEFERRED
)
 WITHOUT ROWID

;
INSERT INTO "events" VALUES('digits-1',1,1000.25,'submitted','{"name":"digits"}');
INSERT INTO "events" VALUES('digits-1',2,1004.0,'told','{"event":"reported","trial":0,"step":1,"metrics":{"val_error":20.5,"val_loss":NaN},"points":[],"stops":[]}');
CREATE TABLE jobs (
	id TEXT NOT NULL, 
	study TEXT NOT NULL, 
	trial BIGINT NOT NULL, 
	kind TEXT NOT NULL, 
	since BIGINT NOT NULL, 
	until BIGINT NOT NULL, 
	attempt BIGINT NOT NULL, 
	status TEXT NOT NULL, 
	worker TEXT NOT NULL, 
	device TEXT NOT NULL, 
	reason TEXT NOT NULL, 
	stop_reason TEXT, 
	spec TEXT NOT NULL, 
	created_at DOUBLE NOT NULL, 
	begun_at DOUBLE, 
	ended_at DOUBLE, 
	CONSTRAINT pk_jobs PRIMARY KEY (id), 
	CONSTRAINT fk_jobs_study_trial FOREIGN KEY(study, trial) REFERENCES trials (study, trial) DEFERRABLE INITIALLY DEFERRED, 
	CONSTRAINT ck_jobs_status CHECK (status IN ('outbox', 'queued', 'running', 'finished', 'lost', 'failed', 'stopped', 'cancelled'))
);
INSERT INTO "jobs" VALUES('digits-1-0-train1','digits-1',0,'train',0,3,2,'finished','w','cpu:golden','',NULL,'{"seed":7}',1003.0,1003.5,1006.0);
CREATE TABLE lead (
	one BIGINT NOT NULL, 
	token BIGINT NOT NULL, 
	holder TEXT NOT NULL, 
	CONSTRAINT pk_lead PRIMARY KEY (one)
);
INSERT INTO "lead" VALUES(1,7,'host pid 42');
CREATE TABLE measurements (
	device TEXT NOT NULL, 
	signature TEXT NOT NULL, 
	result TEXT NOT NULL, 
	at DOUBLE NOT NULL, 
	CONSTRAINT pk_measurements PRIMARY KEY (device, signature)
);
INSERT INTO "measurements" VALUES('cpu:golden','abc','{"cumulative_ms":[0.1,0.2]}',1003.0);
CREATE TABLE metrics (
	study TEXT NOT NULL, 
	trial BIGINT NOT NULL, 
	step BIGINT NOT NULL, 
	metric TEXT NOT NULL, 
	value DOUBLE, 
	CONSTRAINT pk_metrics PRIMARY KEY (study, trial, step, metric)
)
 WITHOUT ROWID

;
INSERT INTO "metrics" VALUES('digits-1',0,1,'val_error',20.5);
INSERT INTO "metrics" VALUES('digits-1',0,1,'val_loss',NULL);
INSERT INTO "metrics" VALUES('digits-1',0,3,'val_error',12.5);
INSERT INTO "metrics" VALUES('digits-1',0,3,'val_loss',0.25);
CREATE TABLE points (
	study TEXT NOT NULL, 
	trial BIGINT NOT NULL, 
	point BIGINT NOT NULL, 
	step BIGINT NOT NULL, 
	metrics TEXT NOT NULL, 
	violation DOUBLE, 
	verified BOOLEAN NOT NULL, 
	CONSTRAINT pk_points PRIMARY KEY (study, trial, point), 
	CONSTRAINT fk_points_study_trial FOREIGN KEY(study, trial) REFERENCES trials (study, trial) DEFERRABLE INITIALLY DEFERRED
);
INSERT INTO "points" VALUES('digits-1',0,0,3,'{"val_error":10.0,"bytes":900,"threshold":0.5}',0.0,1);
CREATE TABLE reports (
	study TEXT NOT NULL, 
	trial BIGINT NOT NULL, 
	step BIGINT NOT NULL, 
	job TEXT NOT NULL, 
	attempt BIGINT NOT NULL, 
	at DOUBLE NOT NULL, 
	seconds DOUBLE NOT NULL, 
	points TEXT NOT NULL, 
	CONSTRAINT pk_reports PRIMARY KEY (study, trial, step), 
	CONSTRAINT fk_reports_study_trial FOREIGN KEY(study, trial) REFERENCES trials (study, trial) DEFERRABLE INITIALLY DEFERRED
);
INSERT INTO "reports" VALUES('digits-1',0,1,'digits-1-0-train1',1,1004.0,0.5,'[{"threshold":0.5,"val_error":12.5,"exit_rates":[0.25,0.75]}]');
INSERT INTO "reports" VALUES('digits-1',0,3,'digits-1-0-train1',1,1004.0,0.5,'[{"threshold":0.5,"val_error":12.5,"exit_rates":[0.25,0.75]}]');
CREATE TABLE searchd_schema (
	version_num VARCHAR(32) NOT NULL, 
	CONSTRAINT searchd_schema_pkc PRIMARY KEY (version_num)
);
INSERT INTO "searchd_schema" VALUES('0003');
CREATE TABLE studies (
	id TEXT NOT NULL, 
	name TEXT NOT NULL, 
	spec TEXT NOT NULL, 
	status TEXT NOT NULL, 
	status_reason TEXT NOT NULL, 
	created_at DOUBLE NOT NULL, 
	started_at DOUBLE, 
	ended_at DOUBLE, 
	artifacts TEXT NOT NULL, 
	duplicates BIGINT DEFAULT '0' NOT NULL, 
	CONSTRAINT pk_studies PRIMARY KEY (id), 
	CONSTRAINT ck_studies_status CHECK (status IN ('queued', 'running', 'paused', 'verifying', 'done', 'stopped', 'faulted'))
);
INSERT INTO "studies" VALUES('digits-1','digits','{"study":"digits","space":{"width":{"int":[8,32]}},"objectives":{"val_error":{"goal":"minimize"}},"search":{"scheduler":"asha","searcher":"tpe","r":1,"R":27,"eta":3}}','running','',1000.25,1001.5,NULL,'out/digits',2);
CREATE TABLE trials (
	study TEXT NOT NULL, 
	trial BIGINT NOT NULL, 
	config TEXT NOT NULL, 
	status TEXT NOT NULL, 
	step BIGINT NOT NULL, 
	bracket BIGINT NOT NULL, 
	reason TEXT NOT NULL, 
	error TEXT NOT NULL, 
	signature TEXT, 
	created_at DOUBLE NOT NULL, 
	ended_at DOUBLE, 
	CONSTRAINT pk_trials PRIMARY KEY (study, trial), 
	CONSTRAINT fk_trials_study FOREIGN KEY(study) REFERENCES studies (id) DEFERRABLE INITIALLY DEFERRED, 
	CONSTRAINT ck_trials_status CHECK (status IN ('waiting', 'running', 'paused', 'done', 'stopped', 'failed', 'vetoed'))
);
INSERT INTO "trials" VALUES('digits-1',0,'{"width":16,"exits":[0],"lr":0.001}','paused',3,1,'new','','abc',1002.0,NULL);
INSERT INTO "trials" VALUES('digits-1',1,'{"width":16,"exits":[0],"lr":0.001}','failed',0,1,'oom','it
fell',NULL,1002.0,1009.0);
CREATE INDEX ix_studies_name ON studies (name);
CREATE INDEX ix_jobs_study_trial ON jobs (study, trial);
CREATE INDEX ix_jobs_status ON jobs (status);
COMMIT;
