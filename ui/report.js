/* The report's behaviour: axes of choice, a click on a point or a row shows that trial. No network. */
(function () {
  "use strict";
  const data = JSON.parse(document.getElementById("data").textContent);
  const config = { displaylogo: false, responsive: true, modeBarButtonsToRemove: ["select2d", "lasso2d", "autoScale2d"] };
  const byId = (id) => document.getElementById(id);
  let picked = null;

  function ring(figure) {
    if (!picked) return figure.data;
    const at = { x: [], y: [] };
    for (const trace of figure.data) {
      if (trace.name !== "front" && trace.name !== "not on the front") continue;
      (trace.customdata || []).forEach((c, i) => {
        if (c[0] === picked[0] && (c[1] === picked[1] || picked[1] < 0)) { at.x.push(trace.x[i]); at.y.push(trace.y[i]); }
      });
    }
    const marker = { size: 20, symbol: "circle-open", color: data.selected, line: { width: 2.5 } };
    return figure.data.concat([{ ...at, type: "scatter", mode: "markers", hoverinfo: "skip", showlegend: false, marker }]);
  }

  function drawFront() {
    const x = byId("axis-x"), y = byId("axis-y");
    if (!x) return;
    const figure = data.fronts[x.value + "|" + y.value];
    Plotly.react("front", ring(figure), figure.layout, config);
  }

  function show(trial, point) {
    picked = [trial, point];
    const detail = data.details[trial + "|" + point] || data.details[trial + "|-1"];
    if (detail) byId("detail").innerHTML = detail;
    document.querySelectorAll("#front-table tbody tr").forEach((row) => {
      row.classList.toggle("on", row.dataset.pick === trial + "|" + point);
    });
    drawFront();
  }

  function clickable(id) {
    byId(id).on("plotly_click", (event) => {
      const mark = event.points.find((p) => p.customdata);
      if (mark) show(mark.customdata[0], mark.customdata[1]);
    });
  }

  for (const [id, figure] of Object.entries(data.figures)) {
    Plotly.newPlot(id, figure.data, figure.layout, config);
    if (id !== "parallel") clickable(id);
  }
  if (byId("axis-x")) {
    drawFront();
    clickable("front");
    byId("axis-x").addEventListener("change", drawFront);
    byId("axis-y").addEventListener("change", drawFront);
  }
  document.querySelectorAll("#front-table tbody tr").forEach((row) => {
    row.addEventListener("click", () => { const [t, p] = row.dataset.pick.split("|").map(Number); show(t, p); });
  });
})();
