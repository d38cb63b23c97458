"""The sources that a response can name, for questions of everyday health and science."""

from __future__ import annotations

ACRONYMS = (
    "AAA", "AAD", "AAP", "ACS", "ACSM", "ADA", "AHA", "AKC", "AOA", "ASPCA", "AVMA", "BIPM", "CDC", "CERN", "CPSC", "DOE",
    "EFSA", "EPA", "ESA", "FAA", "FAO", "FDA", "FEMA", "IARC", "IAU", "ICRP", "IPCC", "IUCN", "IUPAC", "NASA", "NCI",
    "NFPA", "NHLBI", "NHS", "NHTSA", "NIA", "NICE", "NIDCD", "NIDDK", "NIEHS", "NIH", "NIMH", "NINDS", "NIOSH", "NIST",
    "NOAA", "NPS", "NSF", "NWS", "OSHA", "RNLI", "UKHSA", "UNICEF", "USDA", "USFS", "USGS", "WHO", "WMO",
)  # fmt: skip
"""Short names: they count in capitals only, or "people who sleep" would name the World Health Organization."""

NAMES = (
    "American Academy of Dermatology", "American Academy of Ophthalmology", "American Academy of Pediatrics",
    "American Academy of Sleep Medicine", "American Cancer Society", "American Chemical Society",
    "American College of Sports Medicine", "American Dental Association", "American Diabetes Association",
    "American Heart Association", "American Kennel Club", "American Lung Association", "American Museum of Natural History",
    "American Optometric Association", "American Red Cross", "American Veterinary Medical Association", "Audubon Society",
    "British Heart Foundation", "British Museum", "Britannica", "Cancer Research UK", "Centers for Disease Control",
    "Cleveland Clinic", "Cochrane", "Consumer Product Safety Commission", "Cornell Lab of Ornithology",
    "Department of Agriculture", "Department of Energy", "Encyclopaedia Britannica", "Encyclopedia Britannica",
    "Environmental Protection Agency", "European Food Safety Authority", "European Space Agency",
    "Food and Agriculture Organization", "Food and Drug Administration", "Harvard Health", "Johns Hopkins Medicine",
    "Lunar and Planetary Institute", "Mayo Clinic", "MedlinePlus", "Merck Manual", "Met Office", "National Academies",
    "National Cancer Institute", "National Eye Institute", "National Geographic", "National Health Service",
    "National Hurricane Center", "National Institute on Aging", "National Institutes of Health",
    "National Park Service", "National Sleep Foundation", "National Weather Service", "Natural History Museum",
    "Poison Control", "Royal Society", "Skin Cancer Foundation", "Sleep Foundation", "Smithsonian", "St John Ambulance",
    "UNESCO", "World Health Organization", "World Meteorological Organization",
)  # fmt: skip
"""Whole names: they count in any case."""
