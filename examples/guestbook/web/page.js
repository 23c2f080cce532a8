// The page as one string. Everything that people wrote is escaped.
const escapes = { "&": "&amp;", "<": "&lt;", ">": "&gt;", '"': "&quot;", "'": "&#39;" };
const text = (value) => String(value ?? "").replace(/[&<>"']/g, (character) => escapes[character]);

export function page(who, book) {
  const entries = book.entries.map((entry) => `<li><p>${text(entry.text)}</p><span>${text(entry.name)}, ${text(entry.at)}</span></li>`).join("\n");
  const summary = book.summary ? text(book.summary) : "The worker has not counted yet.";
  return `<!doctype html>
<html lang="en">
<meta charset="utf-8">
<meta name="viewport" content="width=device-width, initial-scale=1">
<title>${text(who.title)}</title>
<style>
  :root { color-scheme: light dark; --line: color-mix(in srgb, currentColor 18%, transparent); }
  body { font: 1rem/1.6 system-ui, sans-serif; max-width: 38rem; margin: 3rem auto; padding: 0 1.2rem; }
  h1 { font-size: 1.7rem; margin: 0 0 .2rem; }
  .summary, span, footer { color: color-mix(in srgb, currentColor 65%, transparent); font-size: .9rem; }
  form { display: grid; gap: .6rem; margin: 1.6rem 0; }
  input, textarea, button { font: inherit; padding: .55rem .7rem; border: 1px solid var(--line); border-radius: .4rem; background: transparent; color: inherit; }
  button { background: #2456c9; color: #fff; border-color: transparent; cursor: pointer; justify-self: start; padding-inline: 1.2rem; }
  ul { list-style: none; padding: 0; }
  li { border-top: 1px solid var(--line); padding: .8rem 0; }
  li p { margin: 0; white-space: pre-wrap; overflow-wrap: anywhere; }
  footer { margin-top: 2.5rem; border-top: 1px solid var(--line); padding-top: .8rem; }
</style>
<h1>${text(who.title)}</h1>
<div class="summary">${summary}</div>
<form method="post" action="/">
  <input name="name" maxlength="60" required placeholder="Your name" aria-label="Your name">
  <textarea name="text" maxlength="500" rows="3" required placeholder="Say something" aria-label="Say something"></textarea>
  <button>Sign the guestbook</button>
</form>
<ul>
${entries || "<li><p>Nobody has signed yet.</p></li>"}
</ul>
<footer>release ${text(who.release)}, answered by instance ${text(who.instance)}</footer>
</html>
`;
}
