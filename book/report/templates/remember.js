// Controls whose values stand in the page's address, so that a link shows what its sender saw. In a notebook the
// address is not the page's own.
function remember(root, name, redraw) {
  const controls = [...root.querySelectorAll("[name]")];
  const key = (control) => (control.type === "checkbox" && control.value !== "on" ? `${control.name}.${control.value}` : control.name);
  const value = (control) => (control.type === "checkbox" ? String(Number(control.checked)) : control.value);
  redraw(); // some controls offer what others leave
  const start = new Map(controls.map((control) => [control, value(control)]));
  const own = document.querySelector("main .bd-article, article.bd-article");
  function read() {
    const [who, asked] = decodeURI(location.hash.slice(1)).split("?");
    if (!own || who !== name) return false;
    const given = new URLSearchParams(asked);
    for (const control of controls) {
      if (!given.has(key(control))) continue;
      if (control.type === "checkbox") control.checked = given.get(key(control)) === "1";
      else control.value = given.get(key(control));
      redraw();
    }
    return true;
  }
  function write() {
    if (!own) return;
    const changed = controls.filter((control) => value(control) !== start.get(control));
    const asked = new URLSearchParams(changed.map((control) => [key(control), value(control)]));
    history.replaceState(null, "", `#${name}?${asked}`);
  }
  if (own)
    for (const control of controls) control.autocomplete = "off"; // a page that is read again starts from its address
  root.addEventListener("input", () => {
    redraw();
    write();
  });
  window.addEventListener("hashchange", read);
  if (read()) window.addEventListener("load", () => root.scrollIntoView());
}
