const { places, looks, axes, dashes, reach } = data;
const chosen = (name) => [...root.querySelectorAll(`[name="${name}"]:checked`)].map((box) => box.value);
const [svg] = root.querySelectorAll(".chart > svg");
const hover = root.querySelector(".hover");
const dialog = root.querySelector("[popover]");

function words(mark) {
  const cost = ["train_flops", "test_flops"].map((kind) => mark[kind] ?? "-");
  const spread = mark.deviation === null ? "" : ` ± ${mark.deviation.toFixed(2)}`;
  return [
    `${mark.name}, density ${mark.density}`,
    `${mark.printed ? mark.mean : mark.mean.toFixed(2)}${spread} %, ${mark.seeds} seed${mark.seeds > 1 ? "s" : ""}`,
    `FLOPs: training ${cost[0]}x, inference ${cost[1]}x`,
    mark.source === "the report" ? `printed in the report's ${mark.printed}` : "our runs",
  ];
}

function open(mark) {
  const link = (href, textContent, ariaLabel = null) => make("a", { href, textContent, ariaLabel });
  const rows = mark.runs.map((run) => {
    const record = link(run.address, run.record.split("_").at(-1), run.record);
    return row([record, run.seed, run.accuracy ?? "diverged", run.minutes, run.device, run.commit], "td");
  });
  const [table, printed, close] = [make("table", { className: "table" }), make("p"), make("button", { type: "button", textContent: "Close" })];
  table.createTHead().append(row(["Record", "Seed", "Accuracy, %", "Minutes", "Device", "Commit"], "th"));
  table.createTBody().append(...rows);
  printed.append(link("../results/published.json", "The report's numbers as data"));
  dialog.replaceChildren(...words(mark).map((line) => make("p", { textContent: line })), rows.length ? table : printed, make("p"));
  dialog.lastChild.append(close);
  close.addEventListener("click", () => dialog.hidePopover());
  dialog.showPopover();
}

function point(mark, x, y, width) {
  hover.hidden = !mark;
  if (!mark) return;
  hover.replaceChildren(...words(mark).map((line) => make("div", { textContent: line })));
  hover.style.left = `${Math.min(x + 12, width - hover.offsetWidth)}px`;
  hover.style.top = `${y + 14}px`;
}

function front(marks, axis) {
  let best = -Infinity;
  return [...marks]
    .sort((a, b) => a[axis] - b[axis] || b.mean - a.mean)
    .filter((mark) => mark.mean > best && ((best = mark.mean), true));
}

function redraw() {
  const { marks, told } = places[control("place").value];
  const axis = control("axis").value;
  const [methods, masks, sources] = ["method", "masks", "source"].map(chosen);
  const [length, density, spread] = ["length", "density", "spread"].map((name) => control(name).value);
  const shown = marks
    .filter((mark) => methods.includes(mark.method) && (!mark.masks || masks.includes(mark.masks)))
    .filter((mark) => sources.includes(mark.source) && mark[axis] !== null)
    .filter((mark) => !length || mark.method === "dense" || mark.length === Number(length))
    .filter((mark) => !density || mark.method === "dense" || mark.density === Number(density))
    .sort((a, b) => a[axis] - b[axis] || a.mean - b.mean);
  const kinds = sources
    .map((source) => shown.filter((mark) => mark.source === source))
    .filter((mine) => axis !== "density" && mine.length > 3)
    .map((mine) => front(mine, axis));
  root.querySelector(".see").textContent = told[axis];
  point(null);
  const csv = ["source,setting,density,training FLOPs,inference FLOPs,accuracy,deviation,seeds"];
  for (const mark of shown)
    csv.push([mark.source, `"${mark.name}"`, mark.density, mark.train_flops, mark.test_flops, mark.mean, mark.deviation, mark.seeds].join());
  save(csv);
  if (!shown.length) {
    svg.replaceChildren();
    summary.textContent = "No setting is left: choose more methods, masks or densities.";
    return;
  }

  const half = (mark) => (spread === "none" ? 0 : (mark[spread] ?? 0));
  const sparse = shown.filter((mark) => mark.method !== "dense");
  const top = Math.max(...shown.map((mark) => mark.mean));
  // One collapse would flatten all others: left out is what lies far below most (Tukey's fence) and the best.
  const means = (sparse.length ? sparse : shown).map((mark) => mark.mean).sort((a, b) => a - b);
  const [lower, upper] = [0.25, 0.75].map((share) => means[Math.floor(share * (means.length - 1))]);
  const floor = Math.min(means.at(-1) - reach, lower - 1.5 * (upper - lower));
  const inside = (mark) => mark.mean >= floor;
  const below = shown.filter((mark) => !inside(mark));
  const low = Math.max(floor, Math.min(...shown.map((mark) => mark.mean - Math.min(half(mark), 1))));
  const high = top + Math.min(1, Math.max(...shown.map(half)));
  const room = (high - low || 1) * 0.06;
  const xs = shown.map((mark) => mark[axis]);
  const [left, right] = [Math.min(...xs) * 0.8, Math.max(...xs) * 1.25];
  const at = plane(
    svg,
    560,
    { low: left, high: right, log: true, title: axes[axis] },
    { low: low - room, high: high + room, title: "test accuracy, %" },
  );
  const place = (mark) => [at.x(mark[axis]), Math.min(at.y(mark.mean), at.box.bottom - 6)];

  for (const best of control("front").checked ? kinds : []) {
    const path = best.filter(inside).map((mark, index) => `${index ? "H" : "M"}${place(mark)[0]}${index ? "V" : " "}${place(mark)[1]}`);
    draw(svg, "path", { d: `${path.join("")}H${at.box.right}`, class: "front", fill: "none", stroke: "#808080", "stroke-width": 7, "stroke-opacity": 0.3 });
  }
  const lines = [...Map.groupBy(shown, (mark) => `${mark.name} ${mark.source}`).values()];
  for (const line of lines)
    draw(svg, "path", {
      d: line.some(inside) ? `M${line.filter(inside).map((mark) => place(mark).join(" ")).join("L")}` : "",
      fill: "none",
      stroke: looks[line[0].method].colour,
      "stroke-width": line[0].length > 1 ? 3 : 1.5,
      "stroke-dasharray": dashes[line[0].masks] ?? "none",
    });
  const taken = [];
  const buttons = shown.map((mark) => {
    const [x, y] = place(mark);
    const { colour, path } = looks[mark.method];
    const group = draw(svg, "g", { transform: `translate(${x} ${y})`, role: "button", tabindex: -1, "aria-label": words(mark).join("; "), style: "cursor:pointer" });
    const [up, down] = [1, -1].map((side) => Math.max(at.box.top, Math.min(at.box.bottom, at.y(mark.mean + side * half(mark)))) - y);
    if (half(mark)) draw(group, "path", { d: `M-4 ${up}h8M0 ${up}V${down}M-4 ${down}h8`, fill: "none", stroke: colour, "stroke-opacity": 0.6 });
    draw(group, "circle", { r: 11, fill: "transparent" });
    draw(group, "path", { d: path, class: "mark", stroke: colour, "stroke-width": 1.8, fill: mark.source === "the report" ? "var(--pst-color-background, #fff)" : colour });
    taken.push([x - 7, y - 7, x + 7, y + 7]);
    const tell = () => point(mark, x, y, at.width);
    for (const moment of ["pointerenter", "focus"]) group.addEventListener(moment, tell);
    for (const moment of ["pointerleave", "blur"]) group.addEventListener(moment, () => point(null));
    group.addEventListener("click", () => open(mark));
    return group;
  });
  buttons[0].setAttribute("tabindex", 0);
  buttons.forEach((button, index) =>
    button.addEventListener("keydown", (event) => {
      if (event.key === "Enter" || event.key === " ") open(shown[index]);
      const to = buttons[index + { ArrowRight: 1, ArrowLeft: -1 }[event.key]];
      if (to) [button, to].forEach((each) => each.setAttribute("tabindex", each === to ? 0 : -1));
      to?.focus();
      if (to || event.key === " ") event.preventDefault();
    }),
  );
  const ends = lines.map((line) => line.at(-1));
  const names = ends.map((mark) => ({ x: place(mark)[0], y: place(mark)[1], text: mark.name, colour: looks[mark.method].colour }));
  label(svg, names, at.box, taken);

  const listed = (found) => found.map((mark) => mark.name + (mark.density < 1 ? ` at ${mark.density}` : "")).join(", ");
  const fronts = kinds.map((best) => `Pareto front of ${best[0].source}, from cheap to dear: ${listed(best)}.`);
  const outside = below.length ? `Below the plot's lower edge: ${listed(below)}.` : "";
  summary.textContent = [`${shown.length} of ${marks.length} settings shown.`, ...fronts, outside].filter(Boolean).join(" ");
}

root.querySelector("details").open = innerWidth > 700; // on a phone the plot comes first
follow(root.querySelector(".chart"), redraw);
remember(root, "accuracy", redraw);
