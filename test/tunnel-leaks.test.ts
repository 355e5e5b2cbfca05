import { writeFileSync } from 'node:fs';
import { join } from 'node:path';
import { beforeEach, describe, expect, it } from 'vitest';
import { kill, useTunnelLab } from './support/tunnel-client.ts';
import { type Overheard, TunnelWalk } from './support/tunnel-walk.ts';

/*
 * What whoever is on the wire can read, after each step of a client. Without a kill switch:
 *
 *     before it stands    the machine is as without a tunnel
 *     while it stands     nothing: neither what is said to the world, nor a question to any name server
 *     after it is down    the machine is as without a tunnel
 *
 * and between the two each family goes over once, and not back. The tunnel's name server is never asked in clear. With
 * a kill switch nothing is to be read from the step on that makes it to the one that removes it.
 */

/** On the machine's own link, and beyond its gateway in either family. */
const OLD = ['203.0.113.53', '198.51.100.53', '2001:db8:f::53'];
const TUNNELS = ['10.9.0.1', 'fd09::1'];

const lab = useTunnelLab();

beforeEach(() => {
  lab.vpn.server.namespace.ip('address add 203.0.113.53/24 dev eth0');
  const text = OLD.map((server) => `nameserver ${server}\n`).join('');
  writeFileSync(join(lab.vpn.client.folder, 'resolv.conf'), text);
  lab.before = lab.vpn.state();
});

const config = (...lines: string[]): string => lab.vpn.config({ lines: [`DNS = ${TUNNELS.join(', ')}`, ...lines] });

const NOTHING = { inet: false, inet6: false, asked: [] };
const ALL = { inet: true, inet6: true, asked: OLD };

/** Each of them as it changes, in order: whether the world hears of each family, and whether old name servers do. */
function turns(heard: readonly Overheard[]): Record<string, boolean[]> {
  const changes = (of: (one: Overheard) => boolean): boolean[] =>
    heard.map(of).filter((value, index, all) => value !== all[index - 1]);
  return {
    inet: changes(({ inet }) => inet),
    inet6: changes(({ inet6 }) => inet6),
    asked: changes(({ asked }) => asked.length > 0),
  };
}

function expectNoQuestionToTunnels(heard: readonly Overheard[]): void {
  expect(heard.filter(({ asked }) => asked.some((server) => TUNNELS.includes(server)))).toEqual([]);
}

function expectNothing(heard: readonly Overheard[]): void {
  expect(heard.filter(({ inet, inet6, asked }) => inet || inet6 || asked.length > 0)).toEqual([]);
}

describe('without a kill switch', { timeout: 300_000 }, () => {
  it('each family goes over once as it connects, and once as it ends', async () => {
    await using walk = await TunnelWalk.begin(lab.client);
    expect(await walk.listen('before')).toMatchObject(ALL);
    const { child, heard } = await walk.connect(config());
    expect(heard.length).toBeGreaterThan(15);
    expect(heard.at(-1)).toMatchObject(NOTHING);
    expect(turns(heard)).toEqual({ inet: [true, false], inet6: [true, false], asked: [true, false] });
    expectNoQuestionToTunnels(heard);
    const ending = await walk.end(child);
    expect(ending.length).toBeGreaterThan(8);
    expect(ending.at(-1)).toMatchObject(ALL);
    expect(turns(ending)['inet']?.at(-1)).toBe(true);
    for (const turn of Object.values(turns(ending))) expect([[true], [false, true]]).toContainEqual(turn);
    expectNoQuestionToTunnels(ending);
    expect(lab.vpn.state()).toEqual(lab.before);
  });

  it('nothing is heard of a tunnel that is taken over, nor while its endpoint is away', async () => {
    await using walk = await TunnelWalk.begin(lab.client);
    await kill(await lab.client.connect(config()), 'SIGKILL');
    const left = await walk.listen('nobody keeps it');
    const { child, heard } = await walk.connect(config());
    lab.vpn.unserve();
    const away = await walk.listen('its endpoint is away');
    await lab.vpn.serve();
    expectNothing([left, ...heard, away, await walk.listen('its endpoint is back')]);
    await walk.leave(child);
  });

  it('nothing is heard of a tunnel that replaces another, once it stands, and never a question to its name server', async () => {
    await using walk = await TunnelWalk.begin(lab.client);
    await kill(await lab.client.connect(config()), 'SIGKILL');
    const { child, heard } = await walk.connect(config('MTU = 1300'));
    expect(heard.at(-1)).toMatchObject(NOTHING);
    for (const turn of Object.values(turns(heard)))
      expect([
        [true, false],
        [false, true, false],
      ]).toContainEqual(turn);
    expectNoQuestionToTunnels(heard);
    await walk.leave(child);
    expect(lab.vpn.state()).toEqual(lab.before);
  });
});

describe('with a kill switch', { timeout: 300_000 }, () => {
  it('nothing is heard from the step that makes it on, to the one that removes it', async () => {
    await using walk = await TunnelWalk.begin(lab.client);
    const { child, heard } = await walk.connect(config(), '--kill-switch');
    const closed = heard.findIndex(({ step }) => step.includes('nftables'));
    expect(closed).toBeLessThan(5);
    expectNothing(heard.slice(closed));
    const ending = await walk.end(child);
    const opened = ending.findLastIndex(({ step }) => step.includes('nftables'));
    expect(opened).toBeGreaterThan(ending.length - 4);
    expectNothing(ending.slice(0, opened));
    expect(ending.at(-1)).toMatchObject(ALL);
    expect(lab.vpn.state()).toEqual(lab.before);
  });

  it.each([
    ['with one', ['--kill-switch']],
    ['without one', []],
  ])('nothing is heard as it replaces a tunnel %s, in which nothing was', async (_, former) => {
    await using walk = await TunnelWalk.begin(lab.client);
    await kill(await lab.client.connect(config(), ...former), 'SIGKILL');
    const { child, heard } = await walk.connect(config('MTU = 1300'), '--kill-switch');
    expectNothing(heard);
    await walk.leave(child);
    expect(lab.vpn.state()).toEqual(lab.before);
  });
});
