list(APPEND SIPHEAL_CORE_SOURCES
  engine/healer_options.cc)
list(APPEND SIPHEAL_CORE_HEADERS
  sipheal/healer.h
  sipheal/healer_options.h
  sipheal/sipheal.h)
