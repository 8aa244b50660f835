(function () {
  "use strict";
  var d = document, r = d.documentElement;
  d.getElementById("theme").addEventListener("click", function () {
    var dark = r.dataset.theme ? r.dataset.theme === "dark" : matchMedia("(prefers-color-scheme:dark)").matches;
    r.dataset.theme = dark ? "light" : "dark";
    try { localStorage.setItem("theme", r.dataset.theme); } catch (e) { /* storage may be off: the choice then lasts for this page */ }
  });
  d.querySelectorAll("main section[id]>header").forEach(function (header) {
    var section = header.parentNode, button = d.createElement("button");
    button.type = "button";
    button.className = "fold";
    button.setAttribute("aria-expanded", "true");
    button.setAttribute("aria-label", "Fold " + header.querySelector("h2").textContent);
    button.innerHTML = '<svg aria-hidden="true" viewBox="0 0 10 10"><path d="M1 3l4 4 4-4"/></svg>';
    button.addEventListener("click", function () {
      button.setAttribute("aria-expanded", String(!section.classList.toggle("folded")));
    });
    header.appendChild(button);
  });
  // Rows behind a button are open without JavaScript and folded with it.
  d.querySelectorAll(".link").forEach(function (button) {
    var more = d.getElementById(button.getAttribute("aria-controls"));
    more.hidden = true;
    button.hidden = false;
    button.setAttribute("aria-expanded", "false");
    button.addEventListener("click", function () {
      more.hidden = !more.hidden;
      button.setAttribute("aria-expanded", String(!more.hidden));
    });
  });
  function scrollable() {
    d.querySelectorAll(".scroll").forEach(function (box) {
      if (box.scrollWidth > box.clientWidth + 1) {
        box.tabIndex = 0;
        box.setAttribute("role", "group");
        box.setAttribute("aria-label", "Scrolls sideways");
      } else { box.removeAttribute("tabindex"); box.removeAttribute("role"); box.removeAttribute("aria-label"); }
    });
  }
  scrollable();
  addEventListener("resize", scrollable);
  var source = d.getElementById("series"), chart = d.getElementById("bt");
  if (!source || !chart) { return; }
  var data = JSON.parse(source.textContent), days = data.days, at = days.length - 1;
  var cursor = d.getElementById("cur"), output = d.getElementById("btout"), tip = d.getElementById("tip");
  function number(value) { return Math.abs(value / data.divisor).toFixed(data.decimals) + data.suffix; }
  function text(index) {
    var day = days[index];
    return day[0] + ":  P&L " + (day[1] < 0 ? "\u2212" : "+") + number(day[1]) + ",  VaR " + number(day[2]) + (-day[1] > day[2] ? ",  exception" : "");
  }
  function show(index) {
    at = Math.max(0, Math.min(days.length - 1, index));
    var x = (at + 0.5) / days.length * 100 + "%";
    cursor.setAttribute("x1", x);
    cursor.setAttribute("x2", x);
    cursor.setAttribute("visibility", "visible");
  }
  function off() { cursor.setAttribute("visibility", "hidden"); output.textContent = ""; tip.hidden = true; }
  chart.addEventListener("mousemove", function (event) {
    var box = chart.getBoundingClientRect();
    show(Math.floor((event.clientX - box.left) / box.width * days.length));
    tip.textContent = text(at);
    tip.hidden = false;
    tip.style.left = Math.min(event.clientX + 12, innerWidth - tip.offsetWidth - 8) + "px";
    tip.style.top = event.clientY + 14 + "px";
  });
  chart.addEventListener("mouseleave", off);
  chart.addEventListener("blur", off);
  chart.addEventListener("keydown", function (event) {
    var step = { ArrowLeft: -1, ArrowRight: 1, PageUp: -21, PageDown: 21, Home: -days.length, End: days.length }[event.key];
    if (step) { event.preventDefault(); show(at + step); output.textContent = text(at); }
  });
})();
