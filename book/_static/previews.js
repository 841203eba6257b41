// Shows what a link refers to, on hover and on focus: the text that the build left in its title.
document.addEventListener("DOMContentLoaded", () => {
  const box = document.createElement("div");
  box.id = "preview";
  box.role = "tooltip";
  box.hidden = true;
  document.body.append(box);
  let shown = null;

  function show(link) {
    hide();
    shown = link;
    link.dataset.preview ??= link.title;
    link.removeAttribute("title"); // or the browser would show it too
    link.setAttribute("aria-describedby", box.id);
    box.textContent = link.dataset.preview;
    box.hidden = false;
    if (box.textContent.startsWith("$$")) window.MathJax?.typesetPromise?.([box]);
    const at = link.getBoundingClientRect();
    const left = Math.max(8, Math.min(at.left, window.innerWidth - box.offsetWidth - 8));
    const below = at.bottom + box.offsetHeight + 8 < window.innerHeight;
    box.style.left = `${left + window.scrollX}px`;
    box.style.top = `${(below ? at.bottom + 6 : at.top - box.offsetHeight - 6) + window.scrollY}px`;
  }

  function hide() {
    shown?.removeAttribute("aria-describedby");
    shown = null;
    box.hidden = true;
  }

  for (const link of document.querySelectorAll(".bd-article a.reference.internal[title]")) {
    link.addEventListener("mouseenter", () => show(link));
    link.addEventListener("focus", () => show(link));
    link.addEventListener("mouseleave", hide);
    link.addEventListener("blur", hide);
  }
  document.addEventListener("keydown", (event) => event.key === "Escape" && hide());
});
