// An API that answers as a test says, and a command line that is signed in to it; both go with each test.
import { afterEach } from "vitest";
import { startApi, type Answers, type TestApi } from "./api.ts";
import { Cli } from "./cli.ts";

export let api: TestApi;
export let cli: Cli;

export async function serve(answers: Answers): Promise<void> {
  api = await startApi(answers, { token: "t" });
  cli = await Cli.create(api.url);
}

afterEach(async () => {
  await cli.remove();
  await api.close();
});
