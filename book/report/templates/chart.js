// What the drawn explorers share: a plane with axes, and labels that keep out of each other's way.
const NAMESPACE = "http://www.w3.org/2000/svg";

function draw(parent, tag, attributes = {}, text = "") {
  const made = document.createElementNS(NAMESPACE, tag);
  for (const [name, value] of Object.entries(attributes)) made.setAttribute(name, value);
  made.textContent = text;
  return parent.appendChild(made);
}

// Draws anew when the frame's width has changed, which drawing itself may do: a scrollbar comes or goes.
function follow(frame, redraw) {
  let width = 0;
  new ResizeObserver(() => {
    if (Math.abs(frame.clientWidth - width) < 20) return;
    width = frame.clientWidth;
    redraw();
  }).observe(frame);
}

// 1, 2, 5 and their multiples by ten; on a logarithmic axis those that lie at least `gap` pixels apart.
function ticks({ low, high, log }, pixels, gap) {
  const found = [];
  if (log) {
    for (let power = Math.floor(Math.log10(low)); power <= Math.log10(high); power += 1)
      for (const digit of [1, 2, 5]) found.push(Number(`${digit}e${power}`));
    const inside = found.filter((value) => value >= low * 0.999 && value <= high * 1.001);
    const apart = (pixels * Math.log10(2)) / Math.log10(high / low);
    return apart > gap ? inside : inside.filter((value) => /^0?\.?0*1/.test(String(value)));
  }
  const raw = ((high - low) * gap) / pixels;
  const power = 10 ** Math.floor(Math.log10(raw));
  const step = power * [1, 2, 5, 10].find((digit) => digit * power >= raw);
  for (let index = Math.ceil(low / step); index * step <= high * 1.0001; index += 1)
    found.push(Number((index * step).toPrecision(6)));
  return found;
}

// A plane as wide as its frame. `x` and `y` are axes: {low, high, log, title, words}, `words` what a tick says.
function plane(svg, height, x, y) {
  const width = svg.parentElement.clientWidth || 640;
  const box = { left: 52, top: 12, right: width - 14, bottom: height - 46 };
  svg.replaceChildren();
  svg.setAttribute("viewBox", `0 0 ${width} ${height}`);
  const scaled = ({ low, high, log }, from, to) => (value) =>
    from + (log ? Math.log(value / low) / Math.log(high / low) : (value - low) / (high - low)) * (to - from);
  const at = { x: scaled(x, box.left, box.right), y: scaled(y, box.bottom, box.top), box, width };
  const grid = draw(svg, "g", { fill: "currentColor", "font-size": 13, "aria-hidden": true });
  const line = { stroke: "#808080", "stroke-opacity": 0.3 };
  for (const value of x.ticks || ticks(x, box.right - box.left, 56)) {
    draw(grid, "path", { d: `M${at.x(value)} ${box.top}V${box.bottom}`, ...line });
    draw(grid, "text", { x: at.x(value), y: box.bottom + 18, "text-anchor": "middle" }, x.words?.(value) ?? value);
  }
  for (const value of ticks(y, box.bottom - box.top, 48)) {
    draw(grid, "path", { d: `M${box.left} ${at.y(value)}H${box.right}`, ...line });
    draw(grid, "text", { x: box.left - 8, y: at.y(value) + 4, "text-anchor": "end" }, y.words?.(value) ?? value);
  }
  draw(grid, "text", { x: (box.left + box.right) / 2, y: height - 8, "text-anchor": "middle" }, x.title);
  const turned = `translate(13 ${(box.top + box.bottom) / 2}) rotate(-90)`;
  draw(grid, "text", { transform: turned, "text-anchor": "middle" }, y.title);
  return at;
}

// Names of lines beside the point {x, y} where each ends: the free place that is nearest, joined to its point.
// `taken` are the boxes that no name may cover.
function label(svg, names, box, taken) {
  const layer = draw(svg, "g", { "font-size": 12, "aria-hidden": true });
  const crosses = (a, b) => a[0] < b[2] && b[0] < a[2] && a[1] < b[3] && b[1] < a[3];
  const steps = [0, ...Array.from({ length: 32 }, (_, index) => (index % 2 ? 1 : -1) * 8 * Math.ceil((index + 1) / 2))];
  for (const { x, y, text, colour } of names) {
    const word = draw(layer, "text", { class: "name" }, text);
    const length = word.getComputedTextLength();
    const places = steps.flatMap((up) => [8, 30, -8 - length, -30 - length].map((along) => [x + along, y + up]));
    const covered = ([left, middle]) => [left - 2, middle - 8, left + length + 2, middle + 7];
    const inside = ([a, b, c, d]) => a >= box.left && c <= box.right && b >= box.top && d <= box.bottom;
    const far = ([left, middle]) => Math.hypot(Math.max(left - x, x - left - length), 1.6 * (middle - y));
    const free = places
      .filter((place) => inside(covered(place)) && !taken.some((other) => crosses(covered(place), other)))
      .sort((a, b) => far(a) - far(b))[0];
    if (!free) {
      word.remove(); // the marks' hover and the methods' signs above say it
      continue;
    }
    const [left, middle] = free;
    word.setAttribute("x", left);
    word.setAttribute("y", middle + 4);
    if (far(free) > 12) {
      const end = left > x ? left - 2 : left + length + 2;
      draw(layer, "path", { d: `M${x} ${y}L${end} ${middle}`, stroke: colour, "stroke-opacity": 0.7 });
    }
    taken.push(covered(free));
  }
}
