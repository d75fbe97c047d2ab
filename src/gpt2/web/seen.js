// When is a part of the page worth drawing? When it is on the screen, near it, or printed.

const NEAR = "600px";

/**
 * Return a function that calls `show` at once where the element can be seen, or else as soon as it
 * comes near the screen, or is printed.
 * @param {Element} element
 * @param {() => void} show
 */
export function whenSeen(element, show) {
  let [isNear, isStale] = [false, false];
  const catchUp = () => {
    if (isStale && element.isConnected) show();
    isStale = false;
  };
  const observed = (entries) => {
    isNear = entries.at(-1).isIntersecting;
    if (isNear) catchUp();
  };
  new IntersectionObserver(observed, { rootMargin: NEAR }).observe(element);
  window.addEventListener("beforeprint", catchUp);
  return () => {
    if (isNear) show();
    else isStale = true;
  };
}
