// Writes docs/errors.md from the catalogues of errors and causes: `node packages/server/src/http/write-errors.ts`. A test fails when the page is stale.
import { writeFileSync } from "node:fs";
import { fileURLToPath } from "node:url";
import { causesEn } from "@berth/contract/causes.ts";
import { errors } from "@berth/contract/errors.ts";

export const errorsFile = fileURLToPath(new URL("../../../../docs/errors.md", import.meta.url));

export function errorsText(): string {
  const cell = (text: string): string => text.replaceAll("|", "\\|");
  return `# Errors and causes

Made from \`packages/contract/src/errors.ts\` and \`causes.ts\`. Words in braces are filled in from the answer's \`params\`.

## Errors

What the API answers when a request cannot be done, as problem details (RFC 9457): \`code\`, \`detail\`, \`hint\`, \`requestId\`.

| code | status | detail | hint |
| --- | --- | --- | --- |
${Object.entries(errors)
  .map(([code, entry]) => `| <a id="${code}"></a>\`${code}\` | ${entry.status} | ${cell(entry.detail)} | ${cell(entry.hint)} |`)
  .join("\n")}

## Causes

Why a build, a rollout, an instance or a task failed: one sentence, the evidence under it, and a next step.

| code | sentence | next step |
| --- | --- | --- |
${Object.entries(causesEn)
  .map(([code, entry]) => `| <a id="cause-${code}"></a>\`${code}\` | ${cell(entry.sentence)} | ${cell(entry.next)} |`)
  .join("\n")}
`;
}

if (process.argv[1] === fileURLToPath(import.meta.url)) writeFileSync(errorsFile, errorsText());
