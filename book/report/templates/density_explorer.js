const { models, ends, figure, config, distributions } = data;
const plot = root.querySelector(".plotly-graph-div");

// Distributions, and where runs on the model ended.
function offer(name) {
  const select = control("beside");
  const chosen = select.value;
  const options = [["", "nothing"], ...distributions, ...Object.entries(ends[name] ?? {}).map(([run, { text }]) => [run, text])];
  select.replaceChildren(...options.map(([value, text]) => new Option(text, value, false, value === chosen)));
}

function redraw() {
  const name = control("model").value;
  const model = models[name];
  offer(name);
  const at = (kind) => model.points[kind][control("budget").value][control("value").value];
  const beside = control("beside").value;
  const kind = control("distribution").selectedOptions[0].text;
  const shown = [[kind, at(control("distribution").value)]];
  if (beside) shown.push([control("beside").selectedOptions[0].text, ends[name]?.[beside] ?? at(beside)]);
  const [[, point]] = shown;
  tell("value", point.value);
  summary.textContent = shown.map(([, each]) => each.told ?? each.text).join(" ");

  const heads = ["Layer", "Shape", "Density", "Active weights", "Forward FLOPs", ...shown.slice(1).map(([text]) => `Density, ${text}`)];
  const csv = [heads.map((head) => JSON.stringify(head)).join()];
  const rows = point.densities.map((density, index) => {
    const [layer, shape, weights, flops] = model.layers[index];
    const active = Math.round(density * weights);
    const others = shown.slice(1).map(([, each]) => each.densities[index]);
    csv.push([layer, shape, density, active, density * flops, ...others].join());
    const texts = [density.toPrecision(4), active.toLocaleString("en"), (density * flops).toPrecision(3)];
    return [layer, shape, ...texts, ...others.map((share) => share?.toPrecision(4) ?? "-")];
  });
  tabulate(heads, rows);
  save(csv);

  const x = model.layers.map((_, index) => index + 1);
  const traces = shown.map(([text, { densities }], index) => ({
    ...figure.data[index], x, y: densities, name: text, customdata: model.layers }));
  const log = control("log").checked;
  const yaxis = { ...figure.layout.yaxis, type: log ? "log" : "linear", range: log ? [-4, 0] : [0, 1] };
  Plotly.react(plot, traces, { ...figure.layout, yaxis }, config);
}

remember(root, "densities", redraw);
