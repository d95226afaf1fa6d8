(function () {
  // Pictures of postmortem/render/flame.py: 1200 wide as they are written.
  var EDGE = 12, LETTER = 6.7, TITLE_LETTER = 9.1;
  function short(text, room, letter) {
    var letters = Math.floor(room / letter);
    return text.length <= letters ? text : letters > 3 ? text.slice(0, letters - 1) + "\u2026" : "";
  }
  function start(svg) {
    var alone = document.documentElement === svg;
    var height = +svg.getAttribute("height"), width = 0, found = [], zoomed;
    var heading = svg.querySelector(".heading"), title = svg.querySelector("title").textContent;
    var hint = svg.querySelector(".hint"), said = hint.textContent + "; click zooms";
    var button = svg.querySelector(".search");
    var field = alone ? null : svg.parentNode.parentNode.querySelector("input[type=search]");
    var boxes = Array.prototype.map.call(svg.querySelectorAll(".boxes g"), function (g) {
      var rect = g.querySelector("rect");
      return { g: g, r: rect, t: g.querySelector("text"), y: +rect.getAttribute("y"),
               x: +rect.getAttribute("x"), w: +rect.getAttribute("width") + 0.5,
               name: g.querySelector("title").textContent.split("\n")[0].replace(/: [^:]*$/, "") };
    });
    if (!boxes.length) return;
    function place(box, x, w) {
      box.r.setAttribute("x", x);
      box.r.setAttribute("width", Math.max(w - 0.5, 0.3));
      box.t.setAttribute("x", x + 3);
      box.t.textContent = short(box.name, w - 6, LETTER);
    }
    function lay() {
      var room = width - 2 * EDGE, scale = room / zoomed.w;
      boxes.forEach(function (b) {
        var x = EDGE + (b.x - zoomed.x) * scale, w = b.w * scale;
        var below = b.y > zoomed.y && b.x <= zoomed.x + 0.01 &&
          b.x + b.w >= zoomed.x + zoomed.w - 0.6;
        if (below) { x = EDGE; w = room; }
        var seen = x > EDGE - 1 && x + w < width - EDGE + 1 && w > 0.4 && (below || b.y <= zoomed.y);
        b.g.style.display = seen ? "" : "none";
        if (seen) place(b, x, w);
      });
      heading.textContent = short(title, room - (field ? 0 : 60), TITLE_LETTER);
      button.setAttribute("x", width - EDGE);
    }
    function fit() {
      var wide = Math.max(alone ? document.documentElement.clientWidth || innerWidth
                                : svg.parentNode.clientWidth, 300);
      if (wide === width) return;
      width = wide;
      svg.setAttribute("viewBox", "0 0 " + width + " " + height);
      svg.setAttribute("width", width);
      lay();
    }
    function search(text) {
      var wanted = text.trim().toLowerCase(), share = 0;
      found = [];
      boxes.forEach(function (b) {
        var hit = wanted !== "" && b.name.toLowerCase().indexOf(wanted) >= 0;
        b.g.classList.toggle("hit", hit);
        // A caller comes before those it called: what lies above a hit is counted with it.
        if (hit && !found.some(function (f) { return b.x >= f.x - 0.1 && b.x < f.x + f.w - 0.1; })) {
          found.push(b);
          share += b.w;
        }
      });
      hint.textContent = wanted === "" ? said
        : short(text, width / 2, LETTER) + ": " + (100 * share / boxes[0].w).toFixed(1) + " %";
    }
    zoomed = boxes[0];
    hint.textContent = said;
    boxes.forEach(function (b) {
      b.g.addEventListener("click", function () { zoomed = b; lay(); });
    });
    if (field) {
      field.addEventListener("input", function () { search(field.value); });
      field.closest("p").hidden = false;
    } else {
      button.style.display = "inline";
      button.addEventListener("click", function () { search(prompt("Part of a name:") || ""); });
    }
    addEventListener("resize", fit);
    fit();
  }
  Array.prototype.forEach.call(document.querySelectorAll("svg.pm-flame"), start);
})();
