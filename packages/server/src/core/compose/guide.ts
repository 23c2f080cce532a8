// The page docs/guide/compose.md, made from the key table and the rules that reading obeys. `vitest -u` on guide.test.ts writes it.
import { composeNames, overrideNames } from "@berth/contract/compose.ts";
import { kindRules } from "./kind.ts";

import type { KeyRule } from "./rule.ts";
import { areas, type Area } from "./table.ts";

/** The whole page as Markdown. */
export function composeGuide(): string {
  return [intro, ...Object.values(areas).map(table), ports, kinds(), ""].join("\n\n").replace(/\n+$/, "\n");
}

const names = (list: readonly string[]) => list.map((name) => `\`${name}\``).join(", ");

const intro = `# Compose files

\`berth up\` reads the Compose file of the folder that you are in: the first of ${names(composeNames)}, with the first of ${names(overrideNames)} merged over it, or the files that \`--file\` (or \`COMPOSE_FILE\`) names, in that order. \`COMPOSE_PATH_SEPARATOR\`, \`COMPOSE_PROFILES\` and \`COMPOSE_PROJECT_NAME\` (the stack's name, when nothing else names it) are understood too, from your shell or from \`.env\`. Merging, \`!reset\`, \`!override\`, \`extends\`, \`include\`, profiles, anchors and \`x-\` fields work as in Compose. Each service becomes a component of the stack.

Variables are filled in as Compose does: \`$NAME\`, \`\${NAME}\`, \`\${NAME:-default}\`, \`\${NAME-default}\`, \`\${NAME:?message}\`, \`\${NAME?message}\`, \`\${NAME:+other}\`, \`\${NAME+other}\`, nested, and \`$$\` for a dollar sign. Your shell wins over \`.env\`, which lies beside the first Compose file.

All paths stay inside of the project's folder: a path that leads out of it is refused. A build context that is a member of a workspace (npm, pnpm, yarn, go.work, Cargo, uv, Maven, Gradle) or that takes packages from a folder beside it is sent together with these, as far as the git work tree reaches.

Every key is of one of three classes:

- **honoured**: it has the effect that is described;
- **harmless**: it is understood and has no effect here; the plan notes once what Berth does instead;
- **refused**: nothing starts until it is gone, because it would be dangerous or its loss would break the program.

A key that is in none of these tables is a problem, with the key that was probably meant. Keys that start with \`x-\` are yours. All problems are reported at once, with file, line and column.

Where Compose cuts a command off at a shell operator (\`command: migrate && serve\` runs only \`migrate\`), Berth gives the line to a shell.`;

function table(area: Area): string {
  const rows = area.rules.map((rule) => `| \`${rule.key}\` | ${rule.class} | ${cell(sentence(rule))} |`);
  const where = area.path === "" ? "" : `At \`${area.path}\`.\n\n`;
  return `## ${area.title}\n\n${where}| key | class | what becomes of it |\n| --- | --- | --- |\n${rows.join("\n")}`;
}

function sentence(rule: KeyRule): string {
  const fine =
    rule.fine === undefined
      ? ""
      : rule.class === "refused"
        ? ` Allowed: ${names(rule.fine.map(String))}.`
        : ` Nothing is said about ${names(rule.fine.map(String))}.`;
  return `${rule.text}.${rule.hint === undefined ? "" : ` ${rule.hint}`}${fine}`;
}

function cell(text: string): string {
  return text.replaceAll("|", "\\|");
}

const ports = `## Ports

The router takes the requests of the outside and leads them to instances, so no instance opens a port of the machine.

- A port speaks HTTP, unless \`x-berth: { ports: { 5432: tcp } }\`, \`app_protocol: tcp\` or \`/tcp\` after a short form says otherwise, or it is a port that is known for something else (5432, 6379, 3306 and their like). With \`app_protocol: grpc\` or \`h2c\` the router speaks HTTP/2 to it, which gRPC needs; see [domains](domains.md).
- An HTTP port under \`ports\` is reached by host name: \`<component>.<stack>.localhost\` and the \`domains\`. Its public number is noted and not opened.
- A TCP port under \`ports\` is opened on the router at its public number, if it has one and it is not bound to a loopback address.
- A port under \`expose\` is for siblings. They find it in \`<NAME>_HOST\`, \`<NAME>_PORT\` and \`<NAME>_URL\`.
- On the local engine a program listens on the port that \`PORT\` names, whatever the file says; a \`PORT\` in \`environment\` says which port it has where instances have a network of their own.
- UDP is refused.`;

function kinds(): string {
  return `## Kinds\n\nThe first that fits decides what kind of component a service is:\n\n${kindRules.map((rule, index) => `${index + 1}. ${rule}`).join("\n")}\n\nA \`stateful\` component is replaced by \`recreate\` (the old instance stops before the new one starts), any other by \`rolling\`; \`x-berth: { strategy: ... }\` changes that, and a component whose volume only one instance may hold should say \`recreate\`.`;
}
