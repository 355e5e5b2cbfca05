import { execFileSync } from 'node:child_process';
import { mkdirSync, mkdtempSync, rmSync, symlinkSync, writeFileSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { join, resolve } from 'node:path';
import { afterEach, beforeEach, expect, it } from 'vitest';

/* The client as another project gets it: the package is unpacked where npm would install it. */

const CHECKOUT = resolve(import.meta.dirname, '..');
const MODULES = join(CHECKOUT, 'node_modules');

const PROGRAM = `
import { CulvertClient, CulvertError, type SandboxResource } from 'culvert';

using culvert = new CulvertClient({ socketPath: process.argv[2] ?? '' });
try {
  const [network]: SandboxResource[] = await culvert.create({ topology: 'netns', policy: { egress: 'internet' } });
  console.log(network?.hostAddress);
} catch (error) {
  if (!(error instanceof CulvertError)) throw error;
  console.log(error.code);
}
`;

const WRONG = `
import { CulvertClient } from 'culvert';
await new CulvertClient({ socketPath: '' }).create({ topology: 'ring' });
`;

let project: string;
beforeEach(() => {
  project = mkdtempSync(join(tmpdir(), 'culvert-client-'));
  const file = run(join(CHECKOUT, 'tools/pack-client'), project).trim();
  const installed = join(project, 'node_modules/culvert');
  mkdirSync(installed, { recursive: true });
  run('tar', '-xzf', file, '--strip-components=1', '-C', installed);
  for (const name of ['zod', '@types']) symlinkSync(join(MODULES, name), join(project, 'node_modules', name));
  writeFileSync(join(project, 'package.json'), '{ "type": "module" }');
});
afterEach(() => rmSync(project, { recursive: true }));

it('type-checks under the options of another project, and runs', () => {
  writeFileSync(join(project, 'program.ts'), PROGRAM);
  compile('program.ts');
  expect(run('node', 'program.js', join(project, 'no.sock'))).toBe('daemon_unreachable\n');
});

it('has types that tell a mistake', () => {
  writeFileSync(join(project, 'wrong.ts'), WRONG);
  expect(() => compile('wrong.ts')).toThrow(/TS2322: Type '"ring"' is not assignable/);
});

function compile(file: string): void {
  const compilerOptions = {
    strict: true,
    target: 'es2022',
    lib: ['es2022', 'esnext.disposable'],
    module: 'nodenext',
    types: ['node'],
  };
  writeFileSync(join(project, 'tsconfig.json'), JSON.stringify({ compilerOptions, files: [file] }));
  run(join(MODULES, '.bin/tsc'), '-p', '.');
}

/** Its output; what it says on failure stands in the error. */
function run(command: string, ...parameters: string[]): string {
  try {
    return execFileSync(command, parameters, { cwd: project, encoding: 'utf8', stdio: ['ignore', 'pipe', 'pipe'] });
  } catch (error) {
    const { stdout, stderr } = error as { stdout: string; stderr: string };
    throw new Error(`${command} failed: ${stdout}${stderr}`, { cause: error });
  }
}
