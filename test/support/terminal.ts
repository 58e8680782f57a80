import { type StartOptions, startLauncher, TestLauncher } from './launcher'
import { fixture } from './paths'
import { until } from './until'

/** A launcher that is the foreground job of a shell in a terminal. */
export class InTerminal {
  readonly launcher: TestLauncher
  /** Of the launcher itself: that of `launcher` is the terminal's. */
  readonly pid: number

  private constructor(launcher: TestLauncher, pid: number) {
    this.launcher = launcher
    this.pid = pid
  }

  /** `all`: its stdout and stderr are the terminal, too; what is shown there is `launcher.output`. */
  static async start(options: StartOptions & { command: readonly string[]; all?: boolean }): Promise<InTerminal> {
    const { all = false, ...rest } = options
    const under = ['python3', fixture('terminal.py'), ...(all ? ['--all'] : [])]
    const given = { ...rest, under, input: true }
    if (!all) {
      const launcher = await startLauncher(given)
      return new InTerminal(launcher, Number(launcher.events[0]?.['pid']))
    }
    const launcher = new TestLauncher(given)
    // Its log may be text.
    const said = (event: string): string | undefined =>
      launcher.output.find((line) => new RegExp(`[" ]${event}[" ]`).test(line))
    const first = await until(
      () => `it serves\n${launcher.output.join('\n')}\n${launcher.story}`,
      () => said('launcher.serving') && said('launcher.started'),
    )
    return new InTerminal(launcher, Number(/pid"?[:=](\d+)/.exec(first)?.[1]))
  }

  type(key: 'Ctrl-C' | 'Ctrl-Z' | 'Ctrl-S' | 'Ctrl-Q'): void {
    this.#say(`type ${{ 'Ctrl-C': '03', 'Ctrl-Z': '1a', 'Ctrl-S': '13', 'Ctrl-Q': '11' }[key]}`)
  }

  shell(order: 'fg' | 'bg' | 'tostop' | 'hang up'): void {
    this.#say(order)
  }

  #say(line: string): void {
    this.launcher.child.stdin?.write(`${line}\n`)
  }
}
