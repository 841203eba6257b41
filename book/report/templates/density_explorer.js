(() => {
  const root = document.currentScript.parentElement;
  const { models, figure, config } = JSON.parse(root.querySelector('script[type="application/json"]').textContent);
  const plot = root.querySelector(".plotly-graph-div");
  const control = (name) => root.querySelector(`[name="${name}"]`);

  function draw() {
    const model = models[control("model").value];
    const point = model.points[control("distribution").value][control("budget").value][control("value").value];
    root.querySelector("output").value = point.value;
    control("value").setAttribute("aria-valuetext", point.value);
    root.querySelector(".explorer-summary").textContent = point.text;
    const csv = ["layer,shape,density,active weights,forward FLOPs"];
    const rows = point.densities.map((density, index) => {
      const [name, shape, weights, flops] = model.layers[index];
      const active = Math.round(density * weights);
      csv.push([name, shape, density, active, density * flops].join());
      const row = document.createElement("tr");
      const texts = [density.toPrecision(4), active.toLocaleString("en"), (density * flops).toPrecision(3)];
      for (const text of [name, shape, ...texts]) {
        row.appendChild(document.createElement("td")).textContent = text;
      }
      return row;
    });
    root.querySelector("tbody").replaceChildren(...rows);
    root.querySelector("a[download]").href = `data:text/csv;charset=utf-8,${encodeURIComponent(csv.join("\n"))}`;
    const x = model.layers.map((_, index) => index + 1);
    const trace = { ...figure.data[0], x, y: point.densities, customdata: model.layers };
    const log = control("log").checked;
    const yaxis = { ...figure.layout.yaxis, type: log ? "log" : "linear", range: log ? [-4, 0] : [0, 1] };
    Plotly.react(plot, [trace], { ...figure.layout, yaxis }, config);
  }

  root.addEventListener("input", draw);
  draw();
})();
