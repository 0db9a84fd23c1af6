list(APPEND SIPHEAL_CORE_SOURCES
  sip/address.cc
  sip/dialog_state.cc)
list(APPEND SIPHEAL_CORE_HEADERS
  sipheal/sip/address.h
  sipheal/sip/captured_message.h
  sipheal/sip/dialog_state.h
  sipheal/sip/server_identity.h
  sipheal/sip/verdict.h)
