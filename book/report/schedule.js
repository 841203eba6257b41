(() => {
  const root = document.currentScript.parentElement;
  const { curves, alphas, ends, figure, config } = JSON.parse(
    root.querySelector('script[type="application/json"]').textContent,
  );
  const plot = root.querySelector(".plotly-graph-div");
  const controls = ["alpha", "end"].map((name) => root.querySelector(`[name="${name}"]`));
  const outputs = root.querySelectorAll("output");

  function draw() {
    const [alpha, end] = controls.map((control) => control.value);
    const { values, text } = curves[alpha][end];
    [alphas[alpha], ends[end]].forEach((value, index) => {
      outputs[index].value = value;
      controls[index].setAttribute("aria-valuetext", value);
    });
    root.querySelector(".explorer-summary").textContent = text;
    const [chosen, usual] = figure.data;
    const csv = ["step,drop fraction", ...values.map((value, index) => `${chosen.x[index]},${value}`)].join("\n");
    root.querySelector("a[download]").href = `data:text/csv;charset=utf-8,${encodeURIComponent(csv)}`;
    Plotly.react(plot, [{ ...chosen, y: values }, usual], figure.layout, config);
  }

  root.addEventListener("input", draw);
  draw();
})();
