// A click on a column's header sorts the table: upwards, downwards, as it was.
"use strict";

const NEXT = { none: "ascending", ascending: "descending", descending: "none" };
const letters = new Intl.Collator("en", { numeric: true });

// The numbers of a cell, which count one after the other; "<0.001" comes before 0.001.
function numbers(text) {
  const found = text.match(/[+-]?(?:\d[\d,]*(?:\.\d+)?(?:e[+-]?\d+)?|inf)/gi) ?? [];
  const values = found.map((each) => Number(each.replace(/,/g, "").replace("inf", "Infinity")));
  return text.startsWith("<") ? [values[0] - 1e-12, ...values.slice(1)] : values;
}

function compareNumbers(left, right) {
  const place = left.findIndex((each, index) => each !== right[index]);
  const told = place >= 0 && place < right.length;
  return told ? left[place] - right[place] : left.length - right.length;
}

function makeSortable(table) {
  const heads = [...table.tHead.rows[0].cells];
  const body = table.tBodies[0];
  const asWritten = [...body.rows];

  function sort(column) {
    const direction = NEXT[heads[column].getAttribute("aria-sort")];
    const numeric = heads[column].classList.contains("number");
    const compare = numeric ? compareNumbers : letters.compare;
    const rows = asWritten.map((row) => {
      const text = row.cells[column].textContent.trim();
      return { row, empty: text === "" || text === "—", key: numeric ? numbers(text) : text };
    });
    if (direction !== "none") {
      const sign = direction === "ascending" ? 1 : -1;
      // Empty cells stay below whichever way, and equal ones in the order of the report.
      rows.sort((a, b) => a.empty - b.empty || (a.empty ? 0 : sign * compare(a.key, b.key)));
    }
    body.append(...rows.map(({ row }) => row));
    for (const head of heads) head.setAttribute("aria-sort", "none");
    heads[column].setAttribute("aria-sort", direction);
  }

  heads.forEach((head, column) => {
    const button = document.createElement("button");
    button.type = "button";
    button.append(...head.childNodes);
    if (!button.textContent.trim()) button.setAttribute("aria-label", `column ${column + 1}`);
    button.addEventListener("click", () => sort(column));
    head.append(button);
    head.setAttribute("aria-sort", "none");
  });
}

for (const table of document.querySelectorAll("table")) {
  if (table.tBodies.length) makeSortable(table);
}
