import { describe, expect, it } from 'vitest';
import { RESOLV_CONF, SERVER } from '../lab/vpn.ts';
import { lineOf } from './support/command-line.ts';
import { kill, useTunnelLab } from './support/tunnel-client.ts';

/* What a client that was killed, or wg-quick(8), has left of a tunnel, and what becomes of it. */

const lab = useTunnelLab();

describe('a tunnel', { timeout: 120_000 }, () => {
  it('that was killed is taken over as it is, with its session, and ended by whoever says so', async () => {
    const config = lab.vpn.config({ lines: ['DNS = 10.9.0.1'] });
    await kill(await lab.client.connect(config), 'SIGKILL');
    const left = lab.vpn.state();
    expect(lab.client.pings(SERVER.inside4)).toBe(true);
    expect(lab.client.culvert('tunnels')).toMatch(/^vpn +left +- +yes +no$/m);
    const child = lab.client.start(config, '--json');
    const line = await lineOf(child, /"connected"/);
    expect(JSON.parse(line)).toMatchObject({ wasAdopted: true });
    expect(lab.vpn.state()).toEqual(left);
    lab.client.culvert('disconnect', 'vpn');
    expect(lab.vpn.state()).toEqual(lab.before);
  });

  it('that was killed is replaced where another is wanted, and where its device has died', async () => {
    await kill(await lab.client.connect(lab.vpn.config({ lines: ['DNS = 10.9.0.1'] })), 'SIGKILL');
    const other = await lab.client.connect(lab.vpn.config({ lines: ['MTU = 1300'] }));
    expect(lab.vpn.client.namespace.run('ip', 'link', 'show', 'vpn')).toContain('mtu 1300');
    expect(lab.vpn.state()['names']).toBe(RESOLV_CONF);
    await kill(other, 'SIGKILL');
    lab.vpn.client.namespace.ip('link delete vpn');
    const again = await lab.client.connect(lab.vpn.config());
    expect(lab.client.pings(SERVER.inside4)).toBe(true);
    await kill(again);
    expect(lab.vpn.state()).toEqual(lab.before);
  });

  it('that nobody keeps any more is taken away with all that it had', async () => {
    const child = await lab.client.connect(lab.vpn.config({ lines: ['DNS = 10.9.0.1'] }), '--kill-switch');
    await kill(child, 'SIGKILL');
    expect(lab.client.culvert('tunnels')).toMatch(/^vpn +left +- +yes +yes$/m);
    lab.client.culvert('tunnels', '--clean');
    expect(lab.vpn.state()).toEqual(lab.before);
  });

  it('that was killed with a kill switch is taken over without one where none is wanted', async () => {
    await kill(await lab.client.connect(lab.vpn.config(), '--kill-switch'), 'SIGKILL');
    const child = lab.client.start(lab.vpn.config(), '--json');
    expect(JSON.parse(await lineOf(child, /"connected"/))).toMatchObject({ wasAdopted: true });
    expect(lab.vpn.state()['tables']).not.toContain('culvert_kill_vpn');
    await kill(child);
    expect(lab.vpn.state()).toEqual(lab.before);
  });

  it('is what wg-quick left, of the same key', { timeout: 60_000 }, async () => {
    const path = lab.client.file(lab.vpn.config());
    lab.vpn.client.run('sh', '-c', `wg-quick up ${path} 2>&1`);
    expect(lab.client.pings(SERVER.inside4)).toBe(true);
    const child = await lab.client.connect(lab.vpn.config());
    expect(lab.client.pings(SERVER.inside4)).toBe(true);
    await kill(child);
    expect(lab.vpn.state()['links']).toBe(lab.before['links']);
  });
});
