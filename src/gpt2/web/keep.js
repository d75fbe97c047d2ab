// How does content that is made anew stay as the reader has left it?

const FOLDS = "details";
const SCROLLS = ".scroll";

/**
 * Replace what is in an element; what was open, scrolled to or focused is so again, where the new
 * content has it at the same place.
 * @param {HTMLElement} element
 * @param {() => Node[]} make returns the new content; what waits until it is seen may come late
 */
export function replaceContent(element, make) {
  const focus = pathTo(element, document.activeElement);
  const open = all(element, FOLDS).map((fold) => fold.open);
  const places = all(element, SCROLLS).map(placeOf);
  element.style.minHeight = `${element.offsetHeight}px`; // else the page may jump meanwhile
  element.replaceChildren(...make());
  queueMicrotask(() => {
    all(element, FOLDS).forEach((fold, i) => (fold.open = open[i] ?? false));
    all(element, SCROLLS).forEach((box, i) => places[i]?.(box));
    if (focus) at(element, focus)?.focus({ preventScroll: true });
    requestAnimationFrame(() => element.style.removeProperty("min-height"));
  });
}

function all(element, selector) {
  return [...element.querySelectorAll(selector)];
}

/** Return what scrolls another box as this one: to the same place, or to its end. */
function placeOf({ scrollLeft, scrollTop, clientWidth, scrollWidth }) {
  const isAtEnd = scrollLeft > 0 && scrollLeft + clientWidth >= scrollWidth - 1;
  return (box) => {
    if (scrollLeft || scrollTop) box.scrollTo(isAtEnd ? box.scrollWidth : scrollLeft, scrollTop);
  };
}

/** Return the way to an element inside another, as places among children; null if it is outside. */
function pathTo(element, inner) {
  if (inner === element || !element.contains(inner)) return null;
  const way = [];
  for (let node = inner; node !== element; node = node.parentElement) {
    way.unshift([...node.parentElement.children].indexOf(node));
  }
  return way;
}

function at(element, way) {
  return way.reduce((node, place) => node?.children[place] ?? node?.lastElementChild, element);
}
