// What is on the page of a server? A playground, and a look inside any text.

/** Fill the page from the data inside it. */
export function showPage() {
  document.getElementById("main").textContent = "To be built.";
}
