/** Descriptor of the state that is handed over: to another image of the launcher's process, or to a trial of it. */
export const ENV_STATE = 'REUSEPORT_RUN_STATE'

/** The launcher's first word when it is only to say whether it could take over. Not for people: no option, and no verb. */
export const SELF_TEST = '--self-test'
