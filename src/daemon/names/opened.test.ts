import { afterEach, beforeEach, expect, it } from 'vitest';
import { World } from '../../../lab/world.ts';
import { parseIpv4 } from '../../addr/ipv4.ts';
import { closeService } from '../../linux/inet/service.ts';
import { ROUTER } from '../../plan/state.ts';
import { bridgeGateway } from '../../sandbox/topology/layout.ts';
import { OpenedNames } from './opened.ts';

let world: World;
beforeEach(() => {
  world = new World();
});
afterEach(() => world[Symbol.dispose]());

/** An address that this router has: it is no whole one. */
function open(): OpenedNames {
  return new OpenedNames(world.kernel, bridgeGateway(world.layout));
}

function listening(): string[] {
  const lines = world.run(ROUTER, 'ss', '-Hlntu').trim().split('\n');
  return lines.filter((line) => line !== '').map((line) => line.split(/\s+/)[4] ?? '');
}

it('is open in the router namespace, and closed again where nobody takes it', () => {
  const opened = open();
  expect(listening()).toEqual(['10.8.64.1:53', '10.8.64.1:53']);
  expect(opened.problems()).toEqual([]);
  opened[Symbol.dispose]();
  expect(listening()).toEqual([]);
});

it('is whose who takes it', () => {
  const opened = open();
  const sockets = opened.take();
  expect(opened.take()).toBeUndefined();
  opened[Symbol.dispose]();
  expect(listening()).toHaveLength(2);
  if (sockets !== undefined) closeService(sockets);
});

it('says why it could not be opened', () => {
  using first = open();
  using second = open();
  using elsewhere = new OpenedNames(world.kernel, parseIpv4('192.0.2.1'));
  expect(first.problems()).toEqual([]);
  const refused = (why: string): unknown[] => [
    {
      code: 'names_unanswered',
      message: expect.stringMatching(
        `^No sandbox is told names until the daemon is started again: Cannot bind .*${why}$`,
      ),
    },
  ];
  expect(second.problems()).toEqual(refused('EADDRINUSE'));
  expect(elsewhere.problems()).toEqual(refused('EADDRNOTAVAIL'));
  expect(second.take()).toBeUndefined();
});

it('says that the router namespace is another than the one that it is open in', () => {
  using opened = open();
  world.kernel.apply([
    { verb: 'delete', object: { kind: 'namespace', namespace: ROUTER } },
    { verb: 'create', object: { kind: 'namespace', namespace: ROUTER } },
  ]);
  expect(opened.problems()).toMatchObject([{ message: expect.stringContaining('the router namespace is another') }]);
});
