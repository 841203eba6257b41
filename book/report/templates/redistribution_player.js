const [svg, cost] = root.querySelectorAll(".chart > svg");
const STYLES = { uniform: "2 4", ERK: "7 4" };

// Offers what there is, and keeps what was chosen if it is still there.
function offer(name, values) {
  const select = control(name);
  const chosen = values.includes(select.value) ? select.value : values[0];
  select.replaceChildren(...values.map((value) => new Option(value, value, false, value === chosen)));
  select.parentElement.hidden = !values.length;
  return chosen;
}

function line(at, values, attributes) {
  const points = values.map((value, index) => `${at.x(index + 1)} ${at.y(value)}`);
  draw(svg, "path", { d: `M${points.join("L")}`, fill: "none", "stroke-width": 2, ...attributes });
}

function redraw() {
  const place = data.places[control("place").value];
  const densities = Object.keys(place.still);
  const density = offer("density", densities);
  const ofDensity = place.runs.filter((run) => run.density === density);
  const setting = offer("setting", [...new Set(ofDensity.map((run) => run.setting))]);
  const ofSetting = ofDensity.filter((run) => run.setting === setting);
  const seed = offer("seed", ofSetting.map((run) => run.seed));
  const run = ofSetting.find((each) => each.seed === seed);
  const slider = control("at");
  slider.max = run ? run.steps.length - 1 : 0;
  for (const each of root.querySelectorAll("[name=at], button")) each.disabled = !run;
  const now = Number(slider.value);
  const lines = Object.entries(place.still[density]);

  root.querySelector(".see").textContent = run
    ? `${run.setting} at density ${density}, seed ${seed}: ${run.told}`
    : `No method that moves weights between layers has been run here yet, so the lines are what can be computed without one: uniform and ERK at density ${density}. To run them: ${place.command}`;
  summary.textContent = run
    ? `Step ${run.steps[now].toLocaleString("en")}, epoch ${run.epochs[now]} of ${run.epochs.at(-1)}: a forward pass costs ${run.flops[now]} of dense.`
    : lines.map(([name, { flops }]) => `${name}: a forward pass costs ${flops} of dense.`).join(" ");
  slider.setAttribute("aria-valuetext", run ? summary.textContent : "");

  const every = [...lines.flatMap(([, each]) => each.densities), ...(run ? run.densities.flat() : [])];
  const count = place.layers.length;
  const step = Math.ceil(count / 12);
  const at = plane(
    svg,
    420,
    { low: 0.5, high: count + 0.5, title: "layer, from input to output", ticks: place.layers.map((_, index) => index + 1).filter((x) => (x - 1) % step === 0) },
    { low: Math.min(...every.filter(Boolean)) / 1.3, high: 1.15, log: true, title: "density" },
  );
  for (const [name, { densities: shares }] of lines) line(at, shares, { class: name, stroke: "#808080", "stroke-dasharray": STYLES[name] });
  const ends = lines.map(([name, { densities: shares }]) => ({ x: at.x(count), y: at.y(shares.at(-1)), text: name, colour: "#808080" }));
  const taken = [];
  if (run) {
    line(at, run.densities.at(-1), { class: "end", stroke: run.colour, "stroke-width": 7, "stroke-opacity": 0.25 });
    line(at, run.densities[now], { class: "now", stroke: run.colour });
    run.densities[now].forEach((share, index) => {
      const mark = draw(svg, "circle", { cx: at.x(index + 1), cy: at.y(share), r: 5, fill: run.colour });
      draw(mark, "title", {}, `${place.layers[index].join(", ")}: density ${share}`);
      taken.push([at.x(index + 1) - 7, at.y(share) - 7, at.x(index + 1) + 7, at.y(share) + 7]);
    });
    ends.unshift({ x: at.x(count), y: at.y(run.densities[now].at(-1)), text: run.setting, colour: run.colour });
  }
  label(svg, ends, at.box, taken);

  cost.parentElement.hidden = !run || place.flat;
  if (run && !place.flat) {
    const flops = [...run.flops, ...lines.map(([, each]) => each.flops)];
    const over = plane(
      cost,
      200,
      { low: 0, high: run.epochs.at(-1) * 1.02, title: "epoch" },
      { low: 0, high: Math.max(...flops) * 1.1, title: "forward FLOPs" },
    );
    const path = run.flops.map((value, index) => `${over.x(run.epochs[index])} ${over.y(value)}`);
    for (const [name, { flops: value }] of lines)
      draw(cost, "path", { d: `M${over.box.left} ${over.y(value)}H${over.box.right}`, stroke: "#808080", "stroke-width": 2, "stroke-dasharray": STYLES[name] });
    draw(cost, "path", { d: `M${path.join("L")}`, fill: "none", stroke: run.colour, "stroke-width": 2 });
    draw(cost, "circle", { cx: over.x(run.epochs[now]), cy: over.y(run.flops[now]), r: 5, fill: run.colour });
    const beside = lines.map(([name, { flops: value }]) => ({ x: over.box.left + 4, y: over.y(value), text: name, colour: "#808080" }));
    label(cost, beside, over.box, run.epochs.map((epoch, index) => [over.x(epoch) - 5, over.y(run.flops[index]) - 5, over.x(epoch) + 5, over.y(run.flops[index]) + 5]));
  }

  const heads = ["Layer", "Shape", ...(run ? ["Now", "At the end"] : []), ...lines.map(([name]) => name)];
  const rows = place.layers.map((layer, index) => [...layer, ...(run ? [run.densities[now][index], run.densities.at(-1)[index]] : []), ...lines.map(([, each]) => each.densities[index])]);
  tabulate(heads, rows);
  save([heads, ...rows].map((each) => each.join()));
  const record = root.querySelector(".record");
  record.replaceChildren();
  if (run) record.append(". ", make("a", { href: run.record, textContent: "The run's record" }));
}

player(control("at"), 400);
follow(root.querySelector(".chart"), redraw);
remember(root, "redistribution", redraw);
