(() => {
  const root = document.currentScript.parentElement;
  const { models, figure, config } = JSON.parse(root.querySelector('script[type="application/json"]').textContent);
  const plot = root.querySelector(".plotly-graph-div");
  const control = (name) => root.querySelector(`[name="${name}"]`);

  function draw() {
    const model = models[control("model").value];
    const point = model.points[control("distribution").value][control("density").value];
    root.querySelector("output").value = point.density;
    control("density").setAttribute("aria-valuetext", point.density);
    root.querySelector(".explorer-summary").textContent = point.text;
    const rows = model.layers.map(([name, shape], index) => {
      const row = document.createElement("tr");
      for (const text of [name, shape, point.densities[index].toPrecision(4)]) {
        row.appendChild(document.createElement("td")).textContent = text;
      }
      return row;
    });
    root.querySelector("tbody").replaceChildren(...rows);
    const x = model.layers.map((_, index) => index + 1);
    const trace = { ...figure.data[0], x, y: point.densities, customdata: model.layers };
    const log = control("log").checked;
    const yaxis = { ...figure.layout.yaxis, type: log ? "log" : "linear", range: log ? [-4, 0] : [0, 1] };
    Plotly.react(plot, [trace], { ...figure.layout, yaxis }, config);
  }

  root.addEventListener("input", draw);
  draw();
})();
