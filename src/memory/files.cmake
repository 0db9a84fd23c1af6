list(APPEND SIPHEAL_CORE_SOURCES
  memory/memory_session_store.cc
  memory/memory_sip_capture.cc)
list(APPEND SIPHEAL_CORE_HEADERS
  sipheal/adapters/memory.h)
