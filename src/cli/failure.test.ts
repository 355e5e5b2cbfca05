import { CommanderError } from 'commander';
import { describe, expect, it } from 'vitest';
import { CulvertError, InputError } from '../errors.ts';
import { ExitError, failureJson, failureOf, failureText } from './failure.ts';

describe('what went wrong', () => {
  it.each([
    [new InputError('invalid_id', 'Cannot use "A" as an id', { field: 'id' }), 2],
    [new InputError('sandbox_exists', 'Cannot create sandbox a1: it exists'), 1],
    [new CulvertError('store_full', 'Cannot write leases: the disk is full'), 1],
    [new ExitError('command_failed', 'Cannot run x: there is no such command', 127, undefined), 127],
    [new TypeError('x is not a function'), 1],
    [new CommanderError(1, 'commander.unknownOption', "error: unknown option '--x'"), 2],
    [new CommanderError(1, 'commander.help', '(outputHelp)'), 2],
  ])('%s has its exit code, and is one line', (error, exitCode) => {
    const failure = failureOf(error);
    expect(failure?.exitCode).toBe(exitCode);
    expect(failure === undefined ? '' : failureText(failure)).toMatch(/^culvert: Cannot [^\n]+$/);
  });

  it('is one line whatever its message holds', () => {
    const failure = failureOf(new CulvertError('apply_failed', 'Cannot apply:\n  one\n  two'));
    expect(failure && failureText(failure)).toBe('culvert: Cannot apply: one two');
  });

  it('says what to do, and to machines too', () => {
    const failure = failureOf(new CulvertError('kernel_refused', 'Cannot enter a namespace: EPERM'));
    expect(failure && failureText(failure)).toBe('culvert: Cannot enter a namespace: EPERM (run it as root)');
    expect(failure && JSON.parse(failureJson(failure))).toEqual({
      error: { code: 'kernel_refused', message: 'Cannot enter a namespace: EPERM', advice: 'run it as root' },
    });
  });

  it('is nothing where help or the version was asked for', () => {
    expect(failureOf(new CommanderError(0, 'commander.helpDisplayed', '(outputHelp)'))).toBeUndefined();
  });
});
