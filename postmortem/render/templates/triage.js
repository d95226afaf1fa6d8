(function () {
  function value(row, place) {
    var cell = row.cells[place];
    var text = cell.dataset.value === undefined ? cell.textContent.trim() : cell.dataset.value;
    return text !== "" && !isNaN(text) ? Number(text) : text.toLowerCase();
  }
  document.querySelectorAll("table.list").forEach(function (table) {
    var body = table.tBodies[0];
    table.querySelectorAll("th button").forEach(function (button) {
      button.addEventListener("click", function () {
        var head = button.parentNode;
        var place = Array.prototype.indexOf.call(head.parentNode.cells, head);
        var falling = head.getAttribute("aria-sort") !== "descending";
        table.querySelectorAll("th").forEach(function (th) { th.removeAttribute("aria-sort"); });
        head.setAttribute("aria-sort", falling ? "descending" : "ascending");
        Array.from(body.rows).map(function (row) { return [value(row, place), row]; })
          .sort(function (a, b) {
            var order = typeof a[0] !== typeof b[0] ? (typeof a[0] === "number" ? 1 : -1)
              : a[0] < b[0] ? -1 : a[0] > b[0] ? 1 : 0;
            return falling ? -order : order;
          }).forEach(function (pair) { body.appendChild(pair[1]); });
      });
    });
  });
  document.querySelectorAll(".search").forEach(function (label) {
    label.hidden = false;
    var box = label.querySelector("input");
    var table = document.getElementById(box.dataset.table);
    var rows = Array.from(table.tBodies[0].rows);
    var texts = rows.map(function (row) { return row.textContent.toLowerCase(); });
    box.addEventListener("input", function () {
      var words = box.value.toLowerCase().split(/\s+/);
      rows.forEach(function (row, number) {
        row.hidden = !words.every(function (word) { return texts[number].indexOf(word) >= 0; });
      });
    });
  });
})();
