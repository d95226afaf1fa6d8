
(function () {
  function said(button, text) {
    button.textContent = text;
    setTimeout(function () { button.textContent = "copy"; }, 1500);
  }
  document.querySelectorAll("button[data-copy]").forEach(function (button) {
    button.addEventListener("click", function () {
      var from = document.getElementById(button.dataset.copy);
      var range = document.createRange();
      range.selectNodeContents(from);
      var selection = getSelection();
      selection.removeAllRanges();
      selection.addRange(range);
      // A page that was opened from a file has no clipboard object in every browser.
      if (navigator.clipboard) {
        navigator.clipboard.writeText(from.textContent).then(
          function () { said(button, "copied"); }, function () { said(button, "press Ctrl-C"); });
      } else {
        said(button, document.execCommand("copy") ? "copied" : "press Ctrl-C");
      }
    });
  });
})();
