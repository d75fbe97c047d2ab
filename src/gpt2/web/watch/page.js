// What is on the page of runs that train?

/** Fill the page from the data inside it. */
export function showPage() {
  document.getElementById("main").textContent = "To be built.";
}
