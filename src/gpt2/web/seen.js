// When is a part of the page worth drawing? When it is on the screen, near it, or printed.

const NEAR = 600; // pixels
const LATE = "drawn-late"; // class of the elements that wait

addEventListener("beforeprint", () => {
  for (const element of document.getElementsByClassName(LATE)) {
    element.dispatchEvent(new Event("catchup"));
  }
});

/**
 * Return a function that calls `show` at once where the element can be seen, or else as soon as it
 * comes near the screen, or is printed.
 * @param {Element} element
 * @param {() => void} show
 */
export function whenSeen(element, show) {
  let [isNear, isStale] = [false, false];
  const catchUp = () => {
    if (isStale && element.isConnected) {
      isStale = false;
      show();
    }
  };
  const observed = (entries) => {
    isNear = entries.at(-1).isIntersecting;
    if (isNear) catchUp();
  };
  new IntersectionObserver(observed, { rootMargin: `${NEAR}px` }).observe(element);
  element.classList.add(LATE);
  element.addEventListener("catchup", catchUp);
  // The element is not in the document yet; where it will be near, it is drawn before it is painted.
  queueMicrotask(() => {
    isNear ||= element.isConnected && isClose(element.getBoundingClientRect());
    if (isNear) catchUp();
  });
  return () => {
    if (isNear) show();
    else isStale = true;
  };
}

function isClose({ top, bottom }) {
  return bottom >= -NEAR && top <= innerHeight + NEAR;
}
