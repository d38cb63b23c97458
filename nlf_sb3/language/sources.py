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
    "American Academy of Sleep Medicine", "American Automobile Association", "American Cancer Society",
    "American Chemical Society", "American College of Sports Medicine", "American Dental Association",
    "American Diabetes Association", "American Heart Association", "American Kennel Club", "American Lung Association",
    "American Museum of Natural History", "American Optometric Association", "American Red Cross",
    "American Society for the Prevention of Cruelty to Animals", "American Veterinary Medical Association",
    "Audubon Society", "Britannica", "British Heart Foundation", "British Museum", "Cancer Research UK",
    "Centers for Disease Control", "Cleveland Clinic", "Cochrane", "Consumer Product Safety Commission",
    "Cornell Lab of Ornithology", "Department of Agriculture", "Department of Energy", "Encyclopaedia Britannica",
    "Encyclopedia Britannica", "Environmental Protection Agency", "European Food Safety Authority",
    "European Organization for Nuclear Research", "European Space Agency", "Federal Aviation Administration",
    "Federal Emergency Management Agency", "Food and Agriculture Organization", "Food and Drug Administration",
    "Forest Service", "Geological Survey", "Harvard Health", "Intergovernmental Panel on Climate Change",
    "International Agency for Research on Cancer", "International Astronomical Union",
    "International Bureau of Weights and Measures", "International Commission on Radiological Protection",
    "International Union for Conservation of Nature", "International Union of Pure and Applied Chemistry",
    "Johns Hopkins Medicine", "Lunar and Planetary Institute", "Mayo Clinic", "MedlinePlus", "Merck Manual",
    "Met Office", "National Academies", "National Aeronautics and Space Administration", "National Cancer Institute",
    "National Eye Institute", "National Fire Protection Association", "National Geographic", "National Health Service",
    "National Heart, Lung and Blood Institute",
    "National Heart, Lung, and Blood Institute", "National Highway Traffic Safety Administration",
    "National Hurricane Center", "National Institute for Health and Care Excellence",
    "National Institute for Occupational Safety and Health",
    "National Institute of Diabetes and Digestive and Kidney Diseases",
    "National Institute of Environmental Health Sciences", "National Institute of Mental Health",
    "National Institute of Neurological Disorders and Stroke", "National Institute of Standards and Technology",
    "National Institute on Aging", "National Institute on Deafness and Other Communication Disorders",
    "National Institutes of Health", "National Oceanic and Atmospheric Administration", "National Park Service",
    "National Science Foundation", "National Sleep Foundation", "National Weather Service", "Natural History Museum",
    "Occupational Safety and Health Administration", "Poison Control", "Royal National Lifeboat Institution",
    "Royal Society", "Skin Cancer Foundation", "Sleep Foundation", "Smithsonian", "St John Ambulance",
    "UK Health Security Agency", "UNESCO", "United Nations Children's Fund", "World Health Organization",
    "World Meteorological Organization",
)  # fmt: skip
"""Whole names, those of all short ones among them: they count in any case."""

EXCLAMATIONS = ("AHA", "NICE", "WHO")
"""Short names that are also words: they don't count as what is cried out, or where everything is in capitals."""
