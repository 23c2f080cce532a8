// Writes packages/contract/openapi.json from the route table: `node packages/server/src/http/write-openapi.ts`. A test fails when the file is stale.
import { writeFileSync } from "node:fs";
import { fileURLToPath } from "node:url";
import { openapi } from "./openapi.ts";

export const openapiFile = fileURLToPath(new URL("../../../contract/openapi.json", import.meta.url));
/** The version of the document is the API's, so that a release of Berth alone does not change it. */
export const openapiText = (): string => `${JSON.stringify(openapi("1"), null, 2)}\n`;

if (process.argv[1] === fileURLToPath(import.meta.url)) writeFileSync(openapiFile, openapiText());
