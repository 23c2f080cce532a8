// A stack's plan for people: what would be created, changed and removed, field by field, and what is built for it.
import { renderNote } from "@berth/contract/notes.ts";
import type { StackPlan } from "@berth/contract/resources/plans.ts";
import type { Paint } from "../output/colour.ts";
import { fieldLines } from "../view/fields.ts";

type Change = StackPlan["changes"][number];

/** Lines of the plan; fields of new components are left out, they are all new. `whole`: with everything that was found out about what is built. */
export function planLines(plan: StackPlan, paint: Paint, whole = false): string[] {
  const active = plan.changes.filter((change) => change.action !== "unchanged");
  const still = plan.changes.filter((change) => change.action === "unchanged");
  return [
    paint.bold(`Plan for stack ${plan.stack}${plan.createsStack ? ` (new, on ${plan.cluster})` : ""}`),
    ...active.flatMap((change) => changeLines(change, paint, whole)),
    ...(still.length === 0 ? [] : [`  ${paint.dim(`= ${still.map((change) => change.component).join(", ")}: unchanged`)}`]),
    ...plan.volumes.create.map((volume) => `  ${paint.good("+")} volume ${volume}`),
    ...plan.secrets.create.map((secret) => `  ${paint.good("+")} secret ${secret}`),
    ...plan.secrets.change.map((secret) => `  ${paint.warn("~")} secret ${secret} gets the value of the Compose file`),
    ...plan.secrets.generate.map((secret) => `  ${paint.good("+")} secret ${secret}, made at random`),
    ...plan.notes.map((note) => `  ${paint.dim(`note: ${renderNote(note)}`)}`),
    ...(active.length === 0 ? ["  nothing to change"] : []),
  ];
}

function changeLines(change: Change, paint: Paint, whole: boolean): string[] {
  return [
    headOf(change, paint),
    ...(change.action === "update"
      ? [...fieldLines(change.fields, paint), ...pendingLines(change, paint)].map((line) => `      ${line}`)
      : []),
    ...(isAgain(change) ? [`      ${paint.dim("is not live as it is wanted: it is released again")}`] : []),
    ...buildLines(change.build, paint, whole),
    ...(change.action === "delete" ? [] : change.urls.map((url) => `      ${paint.link(url)}`)),
  ];
}

/** What config and secrets that were set since the release that serves would bring: names, never values. */
function pendingLines({ config, secrets }: Change, paint: Paint): string[] {
  const marks = { added: paint.good("+"), changed: paint.warn("~"), removed: paint.bad("-") };
  return [
    ...config.map(({ name, change }) => `${marks[change]} config ${name} ${change === "added" ? "is new" : `was ${change}`}`),
    ...secrets.map(({ variable, secret, change, from, to }) => {
      const called = variable === secret ? secret : `${secret} (as ${variable})`;
      return `${marks[change]} secret ${called} ${change === "changed" && from !== undefined && to !== undefined && from !== to ? `version ${from} -> ${to}` : change === "added" ? "is new" : `was ${change}`}`;
    }),
  ];
}

/** Nothing differs from what was asked for before, and yet it does not serve: a rollout failed, was stopped, or is still on its way. */
function isAgain({ action, fields, config, secrets, build }: Change): boolean {
  return action === "update" && fields.length + config.length + secrets.length === 0 && build?.known !== false;
}

/** The server explains a build in lines, with headings; what to be careful about is never left out. */
function buildLines(build: Change["build"], paint: Paint, whole: boolean): string[] {
  if (build === undefined) return [];
  const [first = "", ...rest] = build.summary;
  const careful = rest.slice(rest.indexOf("Careful:") + 1 || rest.length);
  const head = build.known
    ? paint.dim(`${contextName(build.context)} is built already`)
    : `builds ${contextName(build.context)}${first === "" ? "" : ` as ${first.replace(/^Project: /, "")}`}`;
  return [
    `      ${head}`,
    ...(whole ? rest.map((line) => `        ${line}`) : careful.map((line) => `      ${paint.warn("careful:")} ${line.trim()}`)),
  ];
}

function headOf(change: Change, paint: Paint): string {
  const what = `${paint.bold(change.component)} (${change.kind})`;
  switch (change.action) {
    case "create":
      return `  ${paint.good("+")} ${what}`;
    case "update":
      return `  ${paint.warn("~")} ${what}`;
    case "delete":
      return `  ${paint.bad("-")} ${what} is removed; its volumes stay`;
    case "unchanged":
      return `  = ${what}`;
    default:
      return change.action satisfies never;
  }
}

function contextName(context: string): string {
  return context === "." ? "the folder" : context;
}
