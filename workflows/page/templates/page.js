(function () {
  "use strict";
  var place = document.getElementById("folds");
  if (!place) return;
  var all = function () { return place.parentNode.querySelectorAll("details.question, details.session"); };
  [["Open all transcripts", true], ["Close all", false]].forEach(function (one) {
    var button = document.createElement("button");
    button.type = "button";
    button.textContent = one[0];
    button.addEventListener("click", function () {
      all().forEach(function (fold) { fold.open = one[1]; });
    });
    place.appendChild(button);
  });
})();
