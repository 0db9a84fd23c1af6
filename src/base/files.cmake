list(APPEND SIPHEAL_CORE_SOURCES
  base/clock.cc
  base/executor.cc
  base/log_sink.cc
  base/telemetry_sink.cc)
list(APPEND SIPHEAL_CORE_HEADERS
  sipheal/export.h
  sipheal/version.h
  sipheal/base/call_context.h
  sipheal/base/clock.h
  sipheal/base/executor.h
  sipheal/base/log_sink.h
  sipheal/base/telemetry_sink.h)
