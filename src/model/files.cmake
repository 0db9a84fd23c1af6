list(APPEND SIPHEAL_CORE_SOURCES
  model/crash_event.cc
  model/interfaces.cc
  model/kill_switch.cc
  model/recovery.cc
  model/session.cc
  model/session_codec.cc
  model/store_rules.cc
  model/turnstile.cc)
list(APPEND SIPHEAL_CORE_HEADERS
  sipheal/model/crash_event.h
  sipheal/model/flow_state.h
  sipheal/model/incarnation.h
  sipheal/model/recovery.h
  sipheal/model/session.h
  sipheal/crash_detector.h
  sipheal/flow_resumer.h
  sipheal/kill_switch.h
  sipheal/media_server_driver.h
  sipheal/session_store.h
  sipheal/sip_capture.h)
