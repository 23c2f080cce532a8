// `berth open`
import { spawn } from "node:child_process";
import { platform } from "node:os";
import { defineCommand, flag, optional } from "../../command.ts";
import { Failure, exitCodes } from "../../failure.ts";

export const command = defineCommand({
  path: ["open"],
  scope: "component",
  summary: "Print a component's URL and open it in the browser",
  arguments: { component: optional("the component, instead of -c; default: the first that has a URL", "component") },
  options: { print: flag("--print", "only print it") },
  examples: [
    ["berth open", "the web component of this folder's stack"],
    ["curl $(berth open api --print)/health", "in a script"],
  ],
  async run(ctx, input) {
    const stack = await ctx.stack();
    const { items } = await (await ctx.api()).listComponents({ params: { stack }, query: { limit: 500 } }, { signal: ctx.signal });
    const name = input.arguments.component ?? ctx.settings.component;
    const component = items.find((item) => (name === undefined ? item.urls.length > 0 : item.name === name));
    // Of several clusters the first one where something answers.
    const url = component?.clusters?.find(({ ready, urls }) => ready > 0 && urls.length > 0)?.urls[0] ?? component?.urls[0];
    if (url === undefined)
      throw new Failure(
        exitCodes.notAllowed,
        name === undefined
          ? `No component of ${stack} has a URL.`
          : component === undefined
            ? `There is no component \`${name}\` in ${stack}.`
            : `${name} has no URL: only web components and those with domains do.`,
        { next: `\`berth status -s ${stack}\` shows what there is.` },
      );
    if (ctx.out.json) ctx.out.object(component);
    else ctx.out.line(url);
    if (!input.options.print && ctx.out.outIsTerminal && !ctx.out.json) await openBrowser(url);
  },
});

/** Where there is no browser the printed URL is all there is to do. */
function openBrowser(url: string): Promise<void> {
  const opener = platform() === "darwin" ? "open" : "xdg-open";
  return new Promise((resolve) => {
    const child = spawn(opener, [url], { stdio: "ignore", detached: true });
    child
      .on("error", () => {
        resolve();
      })
      .on("spawn", () => {
        child.unref();
        resolve();
      });
  });
}
