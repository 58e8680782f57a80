job "shop" {
  # Another image, another count: allocations are replaced, one at a time, and the next only when this one is healthy.
  update {
    max_parallel     = 1
    health_check     = "checks"
    min_healthy_time = "10s"
    auto_revert      = true
  }

  group "shop" {
    count = 3
    # Out of the catalogue first, and only then the signal.
    shutdown_delay = "5s"

    network {
      port "http" { to = 3000 }
    }

    service {
      name     = "shop"
      port     = "http"
      provider = "nomad"

      check {
        type     = "http"
        path     = "/healthz"
        interval = "5s"
        timeout  = "2s"
      }
    }

    task "shop" {
      driver = "docker"

      config {
        image = "registry.example/shop:1"
        ports = ["http"]
        args  = ["--name", "shop", "-n", "2", "--health", "/healthz", "--env-file", "${NOMAD_TASK_DIR}/shop.env", "--", "node", "server.js"]
      }

      # Drain, then end; more than --drain-timeout (30 s) and --kill-after (5 s) together. The client's max_kill_timeout is 30 s unless it says more.
      kill_signal  = "SIGTERM"
      kill_timeout = "45s"

      # Another content: SIGHUP, which is a reload, and not at the same moment on all hosts.
      template {
        data          = "GREETING={{ with nomadVar \"nomad/jobs/shop\" }}{{ .greeting }}{{ end }}\n"
        destination   = "local/shop.env"
        change_mode   = "signal"
        change_signal = "SIGHUP"
        splay         = "60s"
      }

      resources {
        cpu    = 1000
        # Two workers, and two more while a reload runs.
        memory = 1024
      }
    }
  }
}
