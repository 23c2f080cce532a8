// PHP with Composer and Ruby with Bundler, built and run for real. Their packages come from folders of the project itself.
import { afterAll, beforeAll, describe, expect, it } from "vitest";
import type { TestHost } from "../../src/builders/testing/host.ts";
import { answers, built, ecosystemHost, locked, userWith, type Files } from "./project.ts";

const composer: Files = {
  "composer.json": JSON.stringify({
    name: "shop/site",
    require: { php: ">=7.4", "shop/word": "1.0.0" },
    repositories: [{ type: "path", url: "packages/word" }, { packagist: false }],
    autoload: { "psr-4": { "App\\": "src/" } },
  }),
  "packages/word/composer.json": JSON.stringify({ name: "shop/word", version: "1.0.0", autoload: { "psr-4": { "Word\\": "src/" } } }),
  "packages/word/src/Word.php": "<?php\nnamespace Word;\nclass Word { const TEXT = 'word'; }\n",
  "src/Page.php": "<?php\nnamespace App;\nclass Page { public function body() { return 'page ' . \\Word\\Word::TEXT; } }\n",
  "public/index.php": "<?php\nrequire __DIR__ . '/../vendor/autoload.php';\necho (new App\\Page)->body();\n",
};
const withComposer = await userWith([
  ["php", ">=7.4"],
  ["composer", ">=2"],
]);
describe.skipIf(withComposer === undefined)("Composer", () => {
  let host: TestHost;
  beforeAll(async () => {
    host = await ecosystemHost(withComposer ?? "own");
  });
  afterAll(async () => {
    await host?.dispose();
  });

  it("installs what composer.lock names, and the page is served from its public folder", async () => {
    const made = await built(
      host,
      await locked(composer, "composer.lock", "composer", ">=2", ["update", "--no-install", "--no-interaction"], {
        COMPOSER_ALLOW_SUPERUSER: "1",
      }),
    );
    expect(made.plan.warnings.map(({ code }) => code)).toEqual(["development_server"]);
    expect(await answers(host, made)).toEqual({ status: 200, body: "page word" });
  }, 120_000);
  it("a project without packages only gets its classes loaded", async () => {
    const made = await built(host, {
      "composer.json": JSON.stringify({ name: "shop/site", autoload: { "psr-4": { "App\\": "src/" } } }),
      "src/Page.php": "<?php\nnamespace App;\nclass Page { const TEXT = 'alone'; }\n",
      "public/index.php": "<?php\nrequire __DIR__ . '/../vendor/autoload.php';\necho App\\Page::TEXT;\n",
    });
    expect(await answers(host, made)).toEqual({ status: 200, body: "alone" });
  }, 120_000);
});

const ruby = (answer: string): string => `require "socket"
${answer.includes("Word") ? 'require "word"\n' : ""}server = TCPServer.new(ENV.fetch("HOST"), ENV.fetch("PORT").to_i)
loop do
  client = server.accept
  client.readpartial(4096)
  client.write("HTTP/1.0 200 OK\\r\\n\\r\\n" + ${answer})
  client.close
end
`;
const bundler: Files = {
  Gemfile: 'gem "word", path: "gems/word"\n',
  "gems/word/word.gemspec":
    'Gem::Specification.new do |spec|\n  spec.name = "word"\n  spec.version = "1.0.0"\n  spec.summary = "A word"\n  spec.authors = ["Shop"]\n  spec.files = ["lib/word.rb"]\nend\n',
  "gems/word/lib/word.rb": 'module Word\n  TEXT = "word"\nend\n',
  "app.rb": ruby("Word::TEXT"),
};
const withBundler = await userWith([
  ["ruby", ">=2.7"],
  ["bundler", "*"],
]);
describe.skipIf(withBundler === undefined)("Bundler", () => {
  let host: TestHost;
  beforeAll(async () => {
    host = await ecosystemHost(withBundler ?? "own");
  });
  afterAll(async () => {
    await host?.dispose();
  });

  it("installs what Gemfile.lock names, and the program finds it elsewhere", async () => {
    const made = await built(host, await locked(bundler, "Gemfile.lock", "bundler", "*", ["lock", "--local"]));
    expect(made.plan.warnings).toEqual([]);
    expect(await answers(host, made)).toEqual({ status: 200, body: "word" });
  }, 120_000);
  it("a program without a Gemfile is run as it is", async () => {
    const made = await built(host, { "app.rb": ruby('"alone"') });
    expect(made.steps).toEqual([]);
    expect(await answers(host, made)).toEqual({ status: 200, body: "alone" });
  }, 120_000);
});
