// When is a part of the page worth drawing? When it is on the screen, or near it.

const NEAR = "600px";

/**
 * Return a function that calls `show` at once where the element can be seen, or else as soon as it
 * comes near the screen.
 * @param {Element} element
 * @param {() => void} show
 */
export function whenSeen(element, show) {
  let [isNear, isStale] = [false, false];
  const observed = (entries) => {
    isNear = entries.at(-1).isIntersecting;
    if (isNear && isStale) show();
    if (isNear) isStale = false;
  };
  new IntersectionObserver(observed, { rootMargin: NEAR }).observe(element);
  return () => {
    if (isNear) show();
    else isStale = true;
  };
}
