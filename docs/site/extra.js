// What the theme creates in the browser, for those who read with the keyboard or by ear.
const amend = () => {
  for (const nav of document.querySelectorAll('.md-code__nav')) nav.setAttribute('role', 'presentation');
  for (const box of document.querySelectorAll('.md-typeset__scrollwrap')) {
    const scrolls = box.scrollWidth > box.clientWidth;
    if (scrolls && !box.hasAttribute('tabindex')) box.setAttribute('tabindex', '0');
    if (!scrolls) box.removeAttribute('tabindex');
  }
};
new MutationObserver(amend).observe(document.body, { childList: true, subtree: true });
window.addEventListener('resize', amend);
