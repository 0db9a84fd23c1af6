list(APPEND SIPHEAL_CORE_SOURCES
  memory/capture_chain.cc
  memory/memory_session_store.cc
  memory/memory_sip_capture.cc)
list(APPEND SIPHEAL_CORE_HEADERS
  sipheal/capture_chain.h
  sipheal/adapters/memory.h)
