// What the loads have in common: they run until their stdin ends, then print what they have counted.
exports.report = {
  failed(counts, why) {
    counts.lost++
    counts.why[why] = (counts.why[why] ?? 0) + 1
  },
  run(counts, load) {
    const end = new Promise((resolve) => process.stdin.resume().once('end', resolve))
    load(end).then(() => process.stdout.write(JSON.stringify(counts), () => process.exit()))
  },
}
