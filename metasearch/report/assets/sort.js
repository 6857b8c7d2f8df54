"use strict";
// Lets the heads of tables sort their rows. Without scripts the tables are as written: best first.
for (const table of document.querySelectorAll("table.sortable")) {
  const body = table.tBodies[0];
  const heads = [...table.tHead.rows[0].cells];
  const value = (row, i) => {
    const cell = row.cells[i];
    const text = cell.dataset.order ?? cell.textContent.trim();
    const number = text === "inf" ? Infinity : Number(text);
    return text !== "" && !Number.isNaN(number) ? number : text;
  };
  const compare = (a, b) =>
    typeof a === "number" && typeof b === "number" ? (a > b) - (a < b) : String(a).localeCompare(String(b));
  heads.forEach((head, i) => {
    const button = document.createElement("button");
    button.type = "button";
    button.append(...head.childNodes);
    head.append(button);
    button.addEventListener("click", () => {
      const down = head.getAttribute("aria-sort") === "ascending";
      heads.forEach((other) => other.removeAttribute("aria-sort"));
      head.setAttribute("aria-sort", down ? "descending" : "ascending");
      const known = (row) => value(row, i) !== Infinity && value(row, i) !== "";
      const rows = [...body.rows].sort(
        (a, b) => known(b) - known(a) || (down ? -1 : 1) * compare(value(a, i), value(b, i)),
      );
      body.append(...rows);
    });
  });
}
