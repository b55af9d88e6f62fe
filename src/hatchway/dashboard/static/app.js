document.getElementById("app").textContent = "Hatchway";
