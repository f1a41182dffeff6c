"use strict";
// Sorting is an extra: the page is complete without this script.
for (const table of document.querySelectorAll("table")) {
  const heads = [...table.tHead.rows[0].cells], body = table.tBodies[0];
  if (body.rows.length < 2) continue;
  heads.forEach((head, column) => {
    const button = document.createElement("button");
    button.type = "button";
    button.append(...head.childNodes);
    head.replaceChildren(button);
    button.addEventListener("click", () => {
      const down = head.getAttribute("aria-sort") === "ascending";
      heads.forEach((other) => other.removeAttribute("aria-sort"));
      head.setAttribute("aria-sort", down ? "descending" : "ascending");
      const key = (row) => row.cells[column].textContent;
      const words = (a, b) => key(a).localeCompare(key(b), "en", { numeric: true });
      const numbers = (a, b) => (a.cells[column].dataset.order ?? Infinity) - (b.cells[column].dataset.order ?? Infinity);
      const some = [...body.rows].some((row) => row.cells[column].dataset.order !== undefined);
      const rows = [...body.rows].sort(some ? numbers : words);
      body.append(...(down ? rows.reverse() : rows));
    });
  });
}
// A link to a folded section unfolds it, and so does printing.
const unfold = () => {
  document.getElementById(location.hash.slice(1))?.querySelector("details")?.setAttribute("open", "");
};
addEventListener("hashchange", unfold);
addEventListener("beforeprint", () => document.querySelectorAll("details").forEach((each) => { each.open = true; }));
unfold();
